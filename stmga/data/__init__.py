"""Data for training and evaluation. Optional: nothing in here is imported by `import stmga`."""

from stmga.data.augment import ClipAugment
from stmga.data.benchmark import Benchmark
from stmga.data.combine import side_by_side
from stmga.data.datasets.cuhk03 import read_cuhk03
from stmga.data.datasets.cuhk03_file import unpack_cuhk03
from stmga.data.datasets.duke import read_duke
from stmga.data.datasets.ilids import read_ilids
from stmga.data.datasets.lsvid import read_lsvid
from stmga.data.datasets.market import read_market
from stmga.data.datasets.mars import read_mars
from stmga.data.datasets.msmt17 import read_msmt17
from stmga.data.datasets.prid import read_prid
from stmga.data.datasets.reader import DataSetError
from stmga.data.imitation import Imitation
from stmga.data.load import DATASETS, DataSet, load_benchmark
from stmga.data.packing import pack
from stmga.data.roles import benchmark_from
from stmga.data.sampling import PKSampler
from stmga.data.training_set import TrainingSet, collate, cut_pieces, train_clip
from stmga.data.walkers.canvas import Label
from stmga.data.walkers.footage import write_scenes
from stmga.data.walkers.generate import walkers_benchmark, write_benchmark
from stmga.data.walkers.labels import LabelledWalkers
from stmga.data.walkers.render import render_labelled, render_tracklet, render_walkers, write_walkers
from stmga.data.walkers.spec import DIFFICULTIES, Difficulty, WalkerSpec

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
    "WalkerSpec",
    "benchmark_from",
    "collate",
    "cut_pieces",
    "load_benchmark",
    "pack",
    "read_cuhk03",
    "read_duke",
    "read_ilids",
    "read_lsvid",
    "read_market",
    "read_mars",
    "read_msmt17",
    "read_prid",
    "render_labelled",
    "render_tracklet",
    "render_walkers",
    "side_by_side",
    "train_clip",
    "unpack_cuhk03",
    "walkers_benchmark",
    "write_benchmark",
    "write_scenes",
    "write_walkers",
]
