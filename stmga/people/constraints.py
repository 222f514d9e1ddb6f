"""What keeps two tracklets apart whatever their similarity: one camera at the same time, and known persons."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from stmga.tracklets.times import Interval, Span


class NoOverlap:
    """Two tracklets of one clock that overlap in time are two people, and so are two that nobody is fast enough for.

    Args:
        spans: by row, its clock (a camera, or a video of one) and its interval; rows that are missing are free.
        travel: least time between two clocks, in both orders of the two.

    >>> apart = NoOverlap({0: ("door", (0, 9)), 1: ("door", (9, 20)), 2: ("door", (10, 20))})
    >>> apart.allows(0, 1), apart.allows(0, 2)
    (False, True)
    """

    def __init__(
        self, spans: Mapping[int, Span], travel: Mapping[tuple[Hashable, Hashable], float] | None = None
    ) -> None:
        self._travel = travel or {}
        self._spans: dict[int, dict[Hashable, list[Interval]]] = {
            row: {clock: [interval]} for row, (clock, interval) in spans.items()
        }

    def allows(self, a: int, b: int) -> bool:
        mine, theirs = self._spans.get(a, {}), self._spans.get(b, {})
        if any(_nearer(mine[clock], theirs[clock], 0) for clock in mine.keys() & theirs.keys()):
            return False
        return not any(
            _nearer(mine[x], theirs[y], least) for (x, y), least in self._travel.items() if x in mine and y in theirs
        )

    def merge(self, into: int, other: int) -> None:
        mine = self._spans.setdefault(into, {})
        for clock, intervals in self._spans.pop(other, {}).items():
            for interval in intervals:
                insort(mine.setdefault(clock, []), interval)


class KnownPersons:
    """Rows of different known persons are two people.

    >>> apart = KnownPersons({0: "ann", 1: "bob"})
    >>> apart.allows(0, 1), apart.allows(0, 2)
    (False, True)
    """

    def __init__(self, persons: Mapping[int, Any]) -> None:
        self._persons = {row: {person} for row, person in persons.items()}

    def allows(self, a: int, b: int) -> bool:
        return len(self._persons.get(a, set()) | self._persons.get(b, set())) < 2

    def merge(self, into: int, other: int) -> None:
        if other in self._persons:
            self._persons[into] = self._persons.get(into, set()) | self._persons.pop(other)


def _nearer(a: Sequence[Interval], b: Sequence[Interval], gap: float) -> bool:
    """Whether less than ``gap``, or nothing at all, is between an interval of one list and one of the other.

    Both lists rise, and have no overlaps of their own.
    """
    few, many = sorted((a, b), key=len)
    for start, end in few:
        at = bisect_left(many, (start,))
        between = [start - many[at - 1][1]] if at else []
        between += [many[at][0] - end] if at < len(many) else []
        if any(seconds <= 0 or seconds < gap for seconds in between):
            return True
    return False
