"""A data set: tracklets for training, queries and gallery, and the protocol of the test."""

from __future__ import annotations

from dataclasses import dataclass

from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.text import counted


@dataclass(frozen=True, eq=False, kw_only=True)
class Benchmark:
    """Tracklets by role, and the protocol they are evaluated by.

    Attributes:
        name: of the data set, such as ``"mars"``.
        train: tracklets to train on; each has a person.
        query, gallery: of the test, in official order. ``gallery`` does not contain the queries (they are added if
            ``protocol.queries_in_gallery``), but contains junk, which the protocol drops. Both may be empty.
        protocol: how the test counts.
        terms: what the data may be used for, and where to ask for it.
    """

    name: str
    train: list[Tracklet]
    query: list[Tracklet]
    gallery: list[Tracklet]
    protocol: Protocol
    terms: str = ""

    def __repr__(self) -> str:
        persons = len({tracklet.person for tracklet in self.train})
        train = f"{counted(len(self.train), 'tracklet')} of {counted(persons, 'person')} to train on"
        test = f"{len(self.query):,} queries, {len(self.gallery):,} in the gallery"
        return f"Benchmark({self.name}, {train}, {test})"
