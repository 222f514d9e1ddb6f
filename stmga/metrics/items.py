"""From the items of embeddings to who is whose right answer: labels as text, junk and distractors, unsure cameras."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from stmga.metrics.answers import Answers, Side, to_codes
from stmga.metrics.protocol import Protocol
from stmga.utils.text import some

Items = Sequence[dict[str, Any]]


def answers_of_items(queries: Items, gallery: Items, protocol: Protocol, *, tracklets: int) -> Answers:
    """Who is right for whom by the protocol, which is expected to be applied to the gallery's junk as well.

    ``gallery`` begins with ``tracklets`` entries of its own; what follows are queries.

    Raises:
        ValueError: ``camera_candidates`` that is no list of cameras.

    >>> items = [{"tracklet": "a", "person": 7, "camera": 1}, {"tracklet": "b", "person": "7", "camera": "2"}]
    >>> answers_of_items(items[:1], items, Protocol(), tracklets=2).of(0)
    (array([1]), array([0]))
    """
    nobody = {str(person) for person in (*protocol.junk, *protocol.distractors)}
    persons = to_codes("persons", *(labels(side, "person", nobody) for side in (queries, gallery)))
    ids = to_codes("ids", *(labels(side, "tracklet") for side in (queries, gallery)))
    sides = camera_sides(queries, gallery)
    q, g = (Side(p, s.cameras, i, s.candidates) for p, s, i in zip(persons, sides, ids, strict=True))
    junk = {str(person) for person in protocol.junk}
    kept = [item for item in gallery[:tracklets] if str(item.get("person")) not in junk]
    told = all(side.camera_known() for side in camera_sides(queries, kept))
    unknown = protocol.unknown_camera if told else "keep"
    return Answers(q, g, same_camera=protocol.same_camera, unknown_camera=unknown)


def labels(items: Items, key: str, nobody: Collection[str] = ()) -> list[str | None]:
    """Values as text; None for what is missing and for those in ``nobody``."""
    texts = (None if item.get(key) is None else str(item[key]) for item in items)
    return [None if text in nobody else text for text in texts]


def camera_sides(*sides: Items) -> list[Side]:
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
        Side(column, column, None, {i: frozenset(code[name] for name in names) for i, names in candidates.items()})
        for column, candidates in zip(cameras, maybe, strict=True)
    ]


def _candidates(item: dict[str, Any]) -> list[str]:
    cameras = item.get("camera_candidates") or []
    if isinstance(cameras, (str, bytes)) or not isinstance(cameras, Sequence):
        raise ValueError(
            f"camera_candidates of {some([item.get('tracklet')])} must be a list of cameras as [2, 3], got {cameras!r}"
        )
    return [str(camera) for camera in cameras]
