"""Tracklets: short runs of crops of one person, from folders, manifests, MOT files and videos."""

from typing import TYPE_CHECKING

from stmga.tracklets.folders import read_folder
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError, load_cover
from stmga.utils.lazy import imported_later

if TYPE_CHECKING:
    from stmga.tracklets.mot import read_mot

__all__ = [
    "Frame",
    "Tracklet",
    "TrackletError",
    "load_cover",
    "read_folder",
    "read_manifest",
    "read_mot",
    "read_tracklets",
]
__getattr__ = imported_later(__name__, {"read_mot": "stmga.tracklets.mot"})
