"""Data for training and evaluation. Optional: nothing in here is imported by `import stmga`."""

from .augment import ClipAugment
from .canvas import Label
from .clips import cut_pieces, train_clip
from .sampling import PKSampler
from .training_set import TrainingSet, collate
from .walkers import render_labelled, render_tracklet, walkers, write_walkers

__all__ = [
    "ClipAugment",
    "Label",
    "PKSampler",
    "TrainingSet",
    "collate",
    "cut_pieces",
    "render_labelled",
    "render_tracklet",
    "train_clip",
    "walkers",
    "write_walkers",
]
