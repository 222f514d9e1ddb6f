"""Training: heads, losses, recipes, engine; an optional submodule that nothing else of stmga imports."""

from stmga.train.adaptation import AdaptConfig, Adapted, adapt
from stmga.train.config import RECIPES, TrainConfig, recipe
from stmga.train.continuation import Stage
from stmga.train.distillation import Teacher, TeacherError, teacher_vectors
from stmga.train.engine import train, training_process
from stmga.train.errors import NotFiniteError, StoppedError, TrainingError
from stmga.train.heads import IdentityHeads
from stmga.train.losses import identity_loss, part_attention_loss, part_class_loss, triplet_loss
from stmga.train.network import start_trunk, with_input
from stmga.train.objective import Objective
from stmga.train.result import Result
from stmga.train.teaching import TeacherLoss
from stmga.train.trainer import RunOptions, Trainer
from stmga.train.whitening import whiten, whitening_of, with_whitening

__all__ = [
    "RECIPES",
    "AdaptConfig",
    "Adapted",
    "IdentityHeads",
    "NotFiniteError",
    "Objective",
    "Result",
    "RunOptions",
    "Stage",
    "StoppedError",
    "Teacher",
    "TeacherError",
    "TeacherLoss",
    "TrainConfig",
    "Trainer",
    "TrainingError",
    "adapt",
    "identity_loss",
    "part_attention_loss",
    "part_class_loss",
    "recipe",
    "start_trunk",
    "teacher_vectors",
    "train",
    "training_process",
    "triplet_loss",
    "whiten",
    "whitening_of",
    "with_input",
    "with_whitening",
]
