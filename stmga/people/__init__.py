"""Who is who over all cameras: videos to tracklets, and tracklets grouped into persons."""

from stmga.people.boxes import DetectorError
from stmga.people.identities import Identities, Membership, read_known
from stmga.people.linking import link
from stmga.people.motion import Motion
from stmga.people.sources import Source
from stmga.people.tracking import NoPersonError, TrackSettings, track

__all__ = [
    "DetectorError",
    "Identities",
    "Membership",
    "Motion",
    "NoPersonError",
    "Source",
    "TrackSettings",
    "link",
    "read_known",
    "track",
]
