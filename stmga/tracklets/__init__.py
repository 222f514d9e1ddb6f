"""Tracklets: short runs of crops of one person, from folders, manifests, MOT files and videos."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stmga.tracklets.folders import read_folder
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError, load_cover

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
_LATER = {"read_mot": "stmga.tracklets.mot"}  # imported when first asked for


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'stmga.tracklets' has no attribute {name!r}")
