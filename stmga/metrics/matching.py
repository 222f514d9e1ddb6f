"""Which gallery entries match a query, which are removed from its list, and why a query has no match."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.metrics.protocol import Protocol
from stmga.utils.text import preview

Indices = NDArray[np.int64]
NOBODY = -1  # the code of None
REASONS = ("no_person", "absent", "own_camera", "unknown_camera")


@dataclass(frozen=True, eq=False)
class CameraCodes:
    """Cameras as numbers, -1 where unknown; ``candidates`` holds those that a row of unknown camera may come from."""

    codes: Indices
    candidates: dict[int, frozenset[int]] = field(default_factory=dict)

    def known(self) -> bool:
        """Whether anything is known about any camera."""
        return bool((self.codes != NOBODY).any() or self.candidates)

    def possible(self, row: int) -> frozenset[int] | None:
        """The cameras that a row may come from; None where it may be any."""
        if self.codes[row] != NOBODY:
            return frozenset([int(self.codes[row])])
        return self.candidates.get(row)


@dataclass(frozen=True, eq=False)
class LabelCodes:
    """The labels of queries or of the gallery as numbers; -1 is an unknown person, camera or id."""

    persons: Indices
    cameras: CameraCodes | None = None
    ids: Indices | None = None

    def __len__(self) -> int:
        return len(self.persons)


class MatchRules:
    """For every query: the correct gallery rows, the rows removed from its list, and why it has no correct match.

    ``removed`` are the own person's entries of the query's camera (``same_camera="remove"``) or of an undecided one
    (``unknown_camera="remove"``), and the query's own id.

    >>> queries = LabelCodes(np.array([7]), CameraCodes(np.array([1])))
    >>> gallery = LabelCodes(np.array([7, 7, 8]), CameraCodes(np.array([1, 2, 1])))
    >>> MatchRules(queries, gallery).of(0)
    (array([1]), array([0]))
    """

    def __init__(
        self, queries: LabelCodes, gallery: LabelCodes, *, same_camera: str = "remove", unknown_camera: str = "remove"
    ) -> None:
        self.queries, self.gallery = queries, gallery
        self.same = same_camera == "remove"
        self.unknown = unknown_camera == "remove"
        self.by_person = _groups(gallery.persons)
        self.by_id = _groups(gallery.ids) if gallery.ids is not None else {}

    def of(self, query: int) -> tuple[Indices, Indices]:
        """Correct rows and removed rows, each in gallery order."""
        own, itself = self._candidates(query)
        same, undecided = self._cameras(query, own)
        gone = (same if self.same else np.zeros_like(same)) | (undecided if self.unknown else np.zeros_like(same))
        if not len(itself):
            return own[~gone], own[gone]
        gone |= np.isin(own, itself)
        return own[~gone], np.union1d(own[gone], itself)

    def reason(self, query: int) -> str:
        """Why a query has no correct match: one of :data:`REASONS`."""
        if self.queries.persons[query] == NOBODY:
            return "no_person"
        own, itself = self._candidates(query)
        own = own[~np.isin(own, itself)]
        if not len(own):
            return "absent"
        return "unknown_camera" if self._cameras(query, own)[1].any() else "own_camera"

    def _candidates(self, query: int) -> tuple[Indices, Indices]:
        """The entries of the query's person, and those of its own id."""
        nothing = np.empty(0, dtype=np.int64)
        own = self.by_person.get(int(self.queries.persons[query]), nothing)
        ids = self.queries.ids
        return own, nothing if ids is None else self.by_id.get(int(ids[query]), nothing)

    def _cameras(self, query: int, entries: Indices) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which entries are certainly of the query's camera, and of which that cannot be decided."""
        if self.queries.cameras is None or self.gallery.cameras is None:
            return np.zeros(len(entries), dtype=bool), np.zeros(len(entries), dtype=bool)
        camera, cameras = self.queries.cameras.codes[query], self.gallery.cameras.codes[entries]
        same = (cameras == camera) & (cameras != NOBODY)
        undecided = (cameras == NOBODY) | (camera == NOBODY)
        if self.queries.cameras.candidates or self.gallery.cameras.candidates:
            mine = self.queries.cameras.possible(query)
            for i in np.flatnonzero(undecided):
                theirs = self.gallery.cameras.possible(int(entries[i]))
                undecided[i] = mine is None or theirs is None or not mine.isdisjoint(theirs)
        return same, undecided


def _groups(codes: Indices) -> dict[int, Indices]:
    """Indices of each code in rising order, without those of :data:`NOBODY`."""
    order = np.argsort(codes, kind="stable").astype(np.int64)
    starts = np.flatnonzero(np.diff(codes[order], prepend=NOBODY - 1))
    parts = np.split(order, starts[1:]) if len(order) else []
    return {int(codes[part[0]]): part for part in parts if codes[part[0]] != NOBODY}


def to_codes(what: str, *columns: Iterable[Any]) -> list[Indices]:
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
    """Each entry needs one label. This catches cameras per frame given with persons per tracklet."""
    if (len(queries), len(gallery)) != shape:
        raise ValueError(
            f"expected one of {what} for each of {shape[0]} queries and {shape[1]} gallery entries, "
            f"got {len(queries)} and {len(gallery)}"
        )


Items = Sequence[dict[str, Any]]


def rules_of_items(queries: Items, gallery: Items, protocol: Protocol, *, tracklets: int) -> MatchRules:
    """Who matches whom by the protocol. ``gallery`` includes junk, which the caller removes from every list.

    The first ``tracklets`` entries of ``gallery`` are its own; the others are queries.

    Raises:
        ValueError: ``camera_candidates`` is not a list of cameras.

    >>> items = [{"tracklet": "a", "person": 7, "camera": 1}, {"tracklet": "b", "person": "7", "camera": "2"}]
    >>> rules_of_items(items[:1], items, Protocol(), tracklets=2).of(0)
    (array([1]), array([0]))
    """
    nobody = {str(person) for person in (*protocol.junk, *protocol.distractors)}
    persons = to_codes("persons", *(labels(side, "person", nobody) for side in (queries, gallery)))
    ids = to_codes("ids", *(labels(side, "tracklet") for side in (queries, gallery)))
    q, g = (LabelCodes(*codes) for codes in zip(persons, camera_codes(queries, gallery), ids, strict=True))
    junk = {str(person) for person in protocol.junk}
    kept = [item for item in gallery[:tracklets] if str(item.get("person")) not in junk]
    cameras_known = all(cameras.known() for cameras in camera_codes(queries, kept))
    unknown = protocol.unknown_camera if cameras_known else "keep"
    return MatchRules(q, g, same_camera=protocol.same_camera, unknown_camera=unknown)


def labels(items: Items, key: str, nobody: Collection[str] = ()) -> list[str | None]:
    """Values as text; None for what is missing and for those in ``nobody``."""
    texts = (None if item.get(key) is None else str(item[key]) for item in items)
    return [None if text in nobody else text for text in texts]


def camera_codes(*sides: Items) -> list[CameraCodes]:
    """Items -> their cameras and, where unknown, which they may be, as numbers that are equal for equal cameras."""
    known = [labels(items, "camera") for items in sides]
    maybe = [
        {i: _candidates(item) for i, item in enumerate(items) if item.get("camera") is None and _candidates(item)}
        for items in sides
    ]
    named = [name for candidates in maybe for names in candidates.values() for name in names]
    *cameras, flat = to_codes("cameras", *known, named)
    code = dict(zip(named, flat.tolist(), strict=True))
    return [
        CameraCodes(column, {i: frozenset(code[name] for name in names) for i, names in candidates.items()})
        for column, candidates in zip(cameras, maybe, strict=True)
    ]


def _candidates(item: dict[str, Any]) -> list[str]:
    cameras = item.get("camera_candidates") or []
    if isinstance(cameras, (str, bytes)) or not isinstance(cameras, Sequence):
        raise ValueError(
            f"camera_candidates of {preview([item.get('tracklet')])} must be a list of cameras as [2, 3], "
            f"got {cameras!r}"
        )
    return [str(camera) for camera in cameras]
