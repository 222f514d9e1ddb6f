"""Who is who over all cameras: videos to tracklets, and tracklets grouped into persons."""

from stmga.people.boxes import DetectorError
from stmga.people.files import save_tracks, with_persons
from stmga.people.identities import Identities, Membership, read_known
from stmga.people.linking import link
from stmga.people.motion import Motion
from stmga.people.sources import Source
from stmga.people.times import TravelTime
from stmga.people.tracking import NoPersonError, TrackSettings, track
from stmga.people.unlabelled import calibrate_unlabelled
from stmga.people.watching import Seen, watch

__all__ = [
    "DetectorError",
    "Identities",
    "Membership",
    "Motion",
    "NoPersonError",
    "Seen",
    "Source",
    "TrackSettings",
    "TravelTime",
    "calibrate_unlabelled",
    "link",
    "read_known",
    "save_tracks",
    "track",
    "watch",
    "with_persons",
]
