"""Who is who over all cameras: tracklets grouped into persons."""

from stmga.people.files import save_tracks, with_persons
from stmga.people.identities import Identities, Membership, read_known
from stmga.people.linking import link
from stmga.people.times import TravelTime
from stmga.people.unlabelled import calibrate_unlabelled

__all__ = [
    "Identities",
    "Membership",
    "TravelTime",
    "calibrate_unlabelled",
    "link",
    "read_known",
    "save_tracks",
    "with_persons",
]
