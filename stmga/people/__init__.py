"""Who is who over all cameras: tracklets grouped into persons."""

from stmga.people.identities import Identities, Membership, read_known
from stmga.people.linking import link

__all__ = ["Identities", "Membership", "link", "read_known"]
