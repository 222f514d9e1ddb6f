"""For the trackers of other libraries: a re-identification model that they call, and stitching of what they return."""

from stmga.trackers.encoder import Encoder
from stmga.trackers.rows import mot_rows
from stmga.trackers.stitching import stitch

__all__ = ["Encoder", "mot_rows", "stitch"]
