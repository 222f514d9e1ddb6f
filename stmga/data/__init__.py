"""Data for training and evaluation. Optional: nothing in here is imported by `import stmga`."""

from .canvas import Label
from .walkers import render_labelled, render_tracklet, walkers, write_walkers

__all__ = ["Label", "render_labelled", "render_tracklet", "walkers", "write_walkers"]
