"""What a search in a gallery answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


class GalleryError(ValueError):
    """Embeddings that this gallery cannot take or compare with, or a person or a tracklet that it does not have."""


@dataclass(frozen=True)
class Match:
    """One match: ``rank`` counts from 1, ``similarity`` is the cosine in -1..1, ``row`` the row in the gallery."""

    id: str
    similarity: float
    rank: int
    person: Any
    camera: Any
    row: int


@dataclass(frozen=True)
class PersonMatch:
    """One person of a gallery for one query.

    Attributes:
        person: the name, as text.
        similarity: in -1..1, by the rule of :meth:`stmga.Gallery.search_persons`.
        rank: counts from 1.
        tracklets: how many of the person's tracklets were compared.
        best: id of the most similar one.
    """

    person: str
    similarity: float
    rank: int
    tracklets: int
    best: str


@dataclass(frozen=True)
class Assignment:
    """Who a tracklet is.

    Attributes:
        tracklet: id of the query.
        person: the most similar person of the gallery, as text; None if the verdict is "new".
        verdict: ``"known"`` from ``known_from`` on, ``"new"`` below ``new_below``, else ``"unsure"``.
        similarity: to the most similar person, in -1..1; None if there is nobody to compare with.
        known_from, new_below: the two thresholds.
    """

    tracklet: str
    person: str | None
    verdict: str
    similarity: float | None
    known_from: float
    new_below: float
