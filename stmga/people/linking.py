"""One identity for each person, over cameras and time: tracklets grouped by their vectors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.embedding.embeddings import Embeddings
from stmga.metrics.shared_neighbours import Pairs, shared_neighbours
from stmga.people.agglomerate import Constraint, agglomerate
from stmga.people.constraints import KnownPersons, NoOverlap
from stmga.people.evidence import camera_change, travel_change
from stmga.people.groups import Groups
from stmga.people.identities import Identities, Membership
from stmga.people.memberships import memberships
from stmga.people.thresholds import link_thresholds
from stmga.tracklets.times import Span, TravelTime, check_once, clock_spans, frame_spans
from stmga.utils.isolation import isolated
from stmga.utils.text import did_you_mean, preview

logger = logging.getLogger(__name__)


@isolated
def link(
    embeddings: Embeddings,
    *,
    threshold: float | None = None,
    false_match_rate: float | None = None,
    known: Mapping[str, Any] | None = None,
    travel: Sequence[TravelTime] = (),
) -> Identities:
    """Group tracklets into persons: average linkage on cosine + shared neighbours, under constraints.

    Two groups of tracklets become one person while the mean score of their pairs is at least the threshold. The score
    of a pair is its cosine plus the share of neighbours that both have (0..1, see
    :func:`stmga.metrics.shared_neighbours.shared_neighbours`), so a pair that many similar tracklets connect may be
    less similar itself. Within one camera the threshold is that of a tenth of the rate, where it was measured.

    Two tracklets of one camera that overlap in time are never one person. Times are read from the items: ``time`` and
    ``end_time`` in seconds on a clock that all videos of the camera share, or ``start`` and ``end`` in frames of one
    ``video``. Tracklets without times are not kept apart by them; they are counted and logged.

    Args:
        embeddings: of one or more cameras, made by the same weights.
        threshold: score from which two groups are one person, also within a camera.
        false_match_rate: the threshold that the calibration of the embeddings gives for this rate; default: 1e-3.
        known: the person of some tracklets, by id, as corrected by hand. Tracklets of one known person are always
            together, those of two always apart. The known person wins over the times.
        travel: how long people take between cameras. Nobody is faster; tracklets that fit may be less similar. It
            needs ``time`` and ``end_time``.

    Raises:
        ValueError: no tracklets, no threshold and no calibration, both a threshold and a rate, a rate that was not
            measured, a known tracklet that is not there, or a travel time of a camera without times.

    >>> import torch
    >>> vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]))
    >>> items = [{"tracklet": "a", "camera": 1}, {"tracklet": "b", "camera": 2}, {"tracklet": "c", "camera": 2}]
    >>> people = link(Embeddings(vectors, items, digest="1f0c"), threshold=0.6)
    >>> people, [row.identity for row in people]
    (Identities(2 from 3 tracklets, 1 with one tracklet), [1, 1, 2])
    """
    if not len(embeddings):
        raise ValueError("there are no tracklets to link")
    thresholds = link_thresholds(embeddings.calibration, threshold, false_match_rate)
    persons = _known(embeddings, known or {})
    clock, frames = clock_spans(embeddings.items), frame_spans(embeddings.items)
    least = _least_travel(embeddings, clock, travel)
    free = _without_times(embeddings, clock, frames)
    apart = _Constraints(persons, clock, frames, least)
    pairs = shared_neighbours(embeddings.vectors, match=min(thresholds.cut, 1.0), floor=thresholds.floor)
    change = camera_change(pairs, embeddings.cameras, thresholds.camera_margin)
    change += travel_change(pairs, clock, travel, embeddings.calibration, thresholds)
    pairs = Pairs(pairs.rows, pairs.columns, (pairs.shared + change).astype(np.float32))
    labels = agglomerate(
        embeddings.vectors.numpy(), pairs, thresholds.cut, constraints=apart.of_rows(), together=_together(persons)
    )
    people, may_join = Groups.named(labels), apart.of_groups(labels)
    found = memberships(embeddings, people, pairs, thresholds.cut, may_join)
    given = {row: (known or {})[embeddings.ids[row]] for row in persons}
    rows = [_as_given(one, given[row]) if row in given else one for row, one in enumerate(found)]
    return Identities(
        rows,
        threshold=thresholds.cut,
        false_match_rate=thresholds.false_match_rate,
        without_times=free,
        known={int(people.of[row]) + 1: person for row, person in given.items()},
    )


def _without_times(embeddings: Embeddings, clock: Mapping[int, Span], frames: Mapping[int, Span]) -> int:
    """How many tracklets have no times; logged."""
    free = len(embeddings) - len(clock.keys() | frames.keys())
    if free:
        logger.warning("%s of %s tracklets have no times: nothing keeps those of one camera apart that overlap",
                       f"{free:,}", f"{len(embeddings):,}")  # fmt: skip
    return free


def _as_given(row: Membership, person: Any) -> Membership:
    """A row whose person is known: nothing about it is a guess."""
    return replace(row, person=person, confidence=1.0, alternative=None)


@dataclass(frozen=True)
class _Constraints:
    """What is known to keep tracklets apart, by row."""

    persons: Mapping[int, Any]
    clock: Mapping[int, Span]
    frames: Mapping[int, Span]
    least: Mapping[tuple[Hashable, Hashable], float]

    def of_rows(self) -> list[Constraint]:
        """For linkage, which merges rows."""
        return [KnownPersons(self.persons), NoOverlap(self.clock, self.least), NoOverlap(self.frames)]

    def of_groups(self, labels: NDArray[np.int64]) -> Callable[[int, int], bool]:
        """Whether a row could be in a group, when all rows are grouped; a group is named by its first row."""
        n = len(labels)
        persons, clock, frames = (_twice(one, n) for one in (self.persons, self.clock, self.frames))
        apart = _Constraints(persons, clock, frames, self.least).of_rows()
        for row, name in enumerate(labels.tolist()):
            if row != name:
                for one in apart:
                    one.merge(n + name, n + row)
        return lambda row, name: all(one.allows(row, n + name) for one in apart)


def _twice(by_row: Mapping[int, Any], n: int) -> dict[int, Any]:
    """Every row also as row + n, which is then grouped."""
    return {**by_row, **{n + row: value for row, value in by_row.items()}}


def _known(embeddings: Embeddings, known: Mapping[str, Any]) -> dict[int, str]:
    rows = {name: row for row, name in enumerate(embeddings.ids)}
    for name in known:
        if name not in rows:
            hint = f"; {meant}" if (meant := did_you_mean(name, rows)) else ""
            raise ValueError(f'the person of tracklet "{name}" is given, but there is no such tracklet{hint}')
    return {rows[name]: str(person) for name, person in known.items() if person is not None}  # 7 and "7" are one


def _together(persons: Mapping[int, Any]) -> Iterator[tuple[int, int]]:
    first: dict[Any, int] = {}
    for row, person in persons.items():
        if first.setdefault(person, row) != row:
            yield first[person], row


def _least_travel(
    embeddings: Embeddings, clock: Mapping[int, Span], travel: Sequence[TravelTime]
) -> dict[tuple[Hashable, Hashable], float]:
    """The least time between two cameras, in both orders, by their labels."""
    check_once(travel)
    timed = {camera for camera, _ in clock.values()}
    found: dict[tuple[Hashable, Hashable], float] = {}
    for one in travel:
        sides = [[camera for camera in timed if str(camera) == name] for name in one.cameras]
        for name, side in zip(one.cameras, sides, strict=True):
            if not side:
                known = sorted({str(camera) for camera in embeddings.cameras})
                reason = f"the cameras are {preview(known)}"
                if name in known:
                    reason = "its tracklets have no time and end_time, which `stmga track --start` gives"
                raise ValueError(f"a travel time is given for camera {name!r}: {reason}")
        found |= {(x, y): one.least for a, b in (sides, sides[::-1]) for x in a for y in b}
    return found
