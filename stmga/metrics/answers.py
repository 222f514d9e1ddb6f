"""Which gallery entries are a query's right answers, which leave its list, and why a query has nothing to find."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.int64]
NOBODY = -1  # the code of None
REASONS = ("no_person", "absent", "own_camera", "unknown_camera")


@dataclass(frozen=True, eq=False)
class Side:
    """Queries or gallery as numbers, one each: -1 is a person, a camera or an id that is not known.

    ``candidates`` holds the cameras that an entry of unknown camera may come from, by its place; without, it may come
    from any.
    """

    persons: Places
    cameras: Places | None = None
    ids: Places | None = None
    candidates: dict[int, frozenset[int]] | None = None

    def __len__(self) -> int:
        return len(self.persons)

    def camera_known(self) -> bool:
        """Whether anything is known about any camera."""
        return self.cameras is not None and bool((self.cameras != NOBODY).any() or self.candidates)


class Answers:
    """For every query: the gallery places that are right, those that leave its list, and why nothing is right.

    ``removed`` are the own person's entries of the query's camera (``same_camera="remove"``) or of an undecided one
    (``unknown_camera="remove"``), and the query's own id.

    >>> answers = Answers(Side(np.array([7]), np.array([1])), Side(np.array([7, 7, 8]), np.array([1, 2, 1])))
    >>> answers.of(0)
    (array([1]), array([0]))
    """

    def __init__(
        self, queries: Side, gallery: Side, *, same_camera: str = "remove", unknown_camera: str = "remove"
    ) -> None:
        self.queries, self.gallery = queries, gallery
        self.same = same_camera == "remove"
        self.unknown = unknown_camera == "remove"
        self.by_person = _groups(gallery.persons)
        self.by_id = _groups(gallery.ids) if gallery.ids is not None else {}

    def of(self, query: int) -> tuple[Places, Places]:
        """Right places and removed places, each in gallery order."""
        own, itself = self._candidates(query)
        same, undecided = self._cameras(query, own)
        gone = (same if self.same else np.zeros_like(same)) | (undecided if self.unknown else np.zeros_like(same))
        if not len(itself):
            return own[~gone], own[gone]
        gone |= np.isin(own, itself)
        return own[~gone], np.union1d(own[gone], itself)

    def reason(self, query: int) -> str:
        """Why a query without a right place has none: one of :data:`REASONS`."""
        if self.queries.persons[query] == NOBODY:
            return "no_person"
        own, itself = self._candidates(query)
        own = own[~np.isin(own, itself)]
        if not len(own):
            return "absent"
        return "unknown_camera" if self._cameras(query, own)[1].any() else "own_camera"

    def _candidates(self, query: int) -> tuple[Places, Places]:
        """The entries of the query's person, and those of its own id."""
        nothing = np.empty(0, dtype=np.int64)
        own = self.by_person.get(int(self.queries.persons[query]), nothing)
        ids = self.queries.ids
        return own, nothing if ids is None else self.by_id.get(int(ids[query]), nothing)

    def _cameras(self, query: int, entries: Places) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which entries are certainly of the query's camera, and of which that cannot be decided."""
        if self.queries.cameras is None or self.gallery.cameras is None:
            return np.zeros(len(entries), dtype=bool), np.zeros(len(entries), dtype=bool)
        camera, cameras = self.queries.cameras[query], self.gallery.cameras[entries]
        same = (cameras == camera) & (cameras != NOBODY)
        undecided = (cameras == NOBODY) | (camera == NOBODY)
        if self.queries.candidates or self.gallery.candidates:
            mine = _possible(self.queries, query)
            for i in np.flatnonzero(undecided):
                theirs = _possible(self.gallery, int(entries[i]))
                undecided[i] = mine is None or theirs is None or not mine.isdisjoint(theirs)
        return same, undecided


def _possible(side: Side, place: int) -> frozenset[int] | None:
    """The cameras that an entry may come from; None for any."""
    assert side.cameras is not None
    if side.cameras[place] != NOBODY:
        return frozenset([int(side.cameras[place])])
    return (side.candidates or {}).get(place)


def _groups(codes: Places) -> dict[int, Places]:
    """Places of each code in rising order, without those of :data:`NOBODY`."""
    order = np.argsort(codes, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.diff(codes[order], prepend=NOBODY - 1))
    parts = np.split(order, starts[1:]) if len(order) else []
    return {int(codes[part[0]]): part for part in parts if codes[part[0]] != NOBODY}


def to_codes(what: str, *columns: Iterable[Any]) -> list[Places]:
    """Labels of any hashable kind as numbers that are equal where the labels are; ``1`` and ``"1"`` differ.

    >>> to_codes("persons", ["ann", None], ["bob", "ann"])
    [array([ 1, -1]), array([2, 1])]
    """
    seen: dict[Any, int] = {None: NOBODY}
    try:
        return [np.array([seen.setdefault(label, len(seen)) for label in column], np.int64) for column in columns]
    except TypeError as error:
        raise TypeError(f"{what} must be plain values such as strings or numbers: {error}") from None


def check_lengths(what: str, queries: Sequence[Any], gallery: Sequence[Any], shape: tuple[int, int]) -> None:
    """One label an entry: a list of cameras per frame beside persons per tracklet is the error that ends here."""
    if (len(queries), len(gallery)) != shape:
        raise ValueError(
            f"expected one of {what} for each of {shape[0]} queries and {shape[1]} gallery entries, "
            f"got {len(queries)} and {len(gallery)}"
        )
