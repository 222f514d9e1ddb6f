"""The checks of vectors and the items that describe them, row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from stmga.embedding.vectors import Vectors
from stmga.tracklets.tracklet import TrackletError
from stmga.utils.text import preview


class NotFiniteVectorError(TrackletError):
    """At least one tracklet's vector holds NaN or infinity; the message names the tracklets."""

    def __reduce__(self) -> tuple[type[NotFiniteVectorError], tuple[list[str]]]:
        return NotFiniteVectorError, (self.faults,)


def check_rows(vectors: Vectors, items: Sequence[Mapping[str, Any]]) -> None:
    """Check that each vector has one item with an id of its own, and that all vectors are finite.

    Raises:
        ValueError: counts that differ, an item without id, an id that occurs twice.
        NotFiniteVectorError: a vector that holds NaN or infinity.
    """
    if len(vectors) != len(items):
        raise ValueError(f"{len(vectors)} vectors but {len(items)} items")
    nameless = [i for i, item in enumerate(items) if "tracklet" not in item]
    if nameless:
        raise ValueError(f"items without the key 'tracklet' (their id): rows {preview(nameless)}")
    ids = [str(item["tracklet"]) for item in items]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        raise ValueError(f"{len(twice)} tracklet ids occur more than once: {preview(twice)}")
    if broken := vectors.not_finite():
        raise NotFiniteVectorError(f"vectors that are not finite: {preview(ids[i] for i in broken)}")
