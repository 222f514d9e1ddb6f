"""What a search finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Match:
    """One match: ``rank`` counts from 1, ``similarity`` is the cosine in -1..1, ``row`` the row in the gallery.

    ``travel`` is what a travel time that fits adds to the similarity, else 0. ``score`` is the sum of both: thresholds
    and verdicts are for it.
    """

    id: str
    similarity: float
    rank: int
    person: Any
    camera: Any
    row: int
    travel: float = 0.0

    @property
    def score(self) -> float:
        """The similarity, and what a travel time that fits adds to it."""
        return self.similarity + self.travel
