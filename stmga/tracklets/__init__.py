"""Tracklets: short runs of crops of one person, from folders, manifests, MOT files and videos."""

from stmga.tracklets.folders import read_folder
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.mot import read_mot
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError, load_cover

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
