"""Data for training and evaluation. Optional: nothing in here is imported by `import stmga`."""

from .augment import ClipAugment
from .benchmark import Benchmark
from .canvas import Label
from .clips import cut_pieces, train_clip
from .duke import read_duke
from .ilids import read_ilids
from .imitation import Imitation
from .joined import side_by_side
from .labelled import LabelledWalkers
from .load import DATASETS, DataSet, load_benchmark
from .lsvid import read_lsvid
from .mars import read_mars
from .official import DataSetError
from .packing import pack
from .prid import read_prid
from .roles import benchmark_from
from .sampling import PKSampler
from .synthetic import DIFFICULTIES, Difficulty, walkers_benchmark, write_benchmark
from .training_set import TrainingSet, collate
from .walkers import render_labelled, render_tracklet, walkers, write_walkers

__all__ = [
    "DATASETS",
    "DIFFICULTIES",
    "Benchmark",
    "ClipAugment",
    "DataSet",
    "DataSetError",
    "Difficulty",
    "Imitation",
    "Label",
    "LabelledWalkers",
    "PKSampler",
    "TrainingSet",
    "benchmark_from",
    "collate",
    "cut_pieces",
    "load_benchmark",
    "pack",
    "read_duke",
    "read_ilids",
    "read_lsvid",
    "read_mars",
    "read_prid",
    "render_labelled",
    "render_tracklet",
    "side_by_side",
    "train_clip",
    "walkers",
    "walkers_benchmark",
    "write_benchmark",
    "write_walkers",
]
