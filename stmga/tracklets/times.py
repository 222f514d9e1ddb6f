"""When tracklets are seen, and how long people take from one camera to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Interval: TypeAlias = tuple[float, float]  # first and last moment, both inside
Span: TypeAlias = tuple[Hashable, Interval]  # a clock, and when by it
Items: TypeAlias = Sequence[Mapping[str, Any]]  # what is known of tracklets, one per row


@dataclass(frozen=True)
class TravelTime:
    """People take ``least`` to ``most`` seconds between two cameras, in either direction.

    Nobody is faster. Somebody who takes longer is not helped by the time, nor held against it.

    >>> TravelTime.parse("door:hall=20..300")
    TravelTime(cameras=('door', 'hall'), least=20.0, most=300.0)
    """

    cameras: tuple[str, str]
    least: float
    most: float

    def __post_init__(self) -> None:
        if self.cameras[0] == self.cameras[1]:
            raise ValueError(f"a travel time is between two cameras, got {self.cameras[0]!r} twice")
        if not 0 <= self.least <= self.most < math.inf:
            raise ValueError(f"a travel time needs 0 <= least <= most seconds, got {self.least:g}..{self.most:g}")

    @classmethod
    def parse(cls, text: str) -> TravelTime:
        """From text such as ``"door:hall=20..300"``.

        Raises:
            ValueError: other text.
        """
        cameras, _, seconds = text.rpartition("=")
        a, colon, b = cameras.partition(":")
        least, dots, most = seconds.partition("..")
        try:
            if not (a and colon and b and dots):
                raise ValueError
            times = float(least), float(most)
        except ValueError:
            raise ValueError(f"a travel time is written as CAMERA:CAMERA=20..300, in seconds, got {text!r}") from None
        return cls((a, b), *times)


def check_once(travel: Sequence[TravelTime]) -> None:
    """Raise ValueError if two travel times are of the same two cameras."""
    seen: dict[frozenset[str], TravelTime] = {}
    for one in travel:
        if (first := seen.setdefault(frozenset(one.cameras), one)) is not one:
            a, b = first.cameras
            both = f"{first.least:g}..{first.most:g} and {one.least:g}..{one.most:g}"
            raise ValueError(f"there are two travel times between {a!r} and {b!r}: {both}; give one")


def clock_spans(items: Items) -> dict[int, Span]:
    """By row: its camera, and its first and last second on the clock of the cameras. Rows without are left out."""
    return _spans(items, _by_clock)


def frame_spans(items: Items) -> dict[int, Span]:
    """By row: its camera and video, and its first and last frame. Rows without are left out."""
    return _spans(items, _by_frame)


def _by_clock(item: Mapping[str, Any]) -> Span | None:
    if item.get("time") is None or item.get("end_time") is None:
        return None
    return item.get("camera"), (item["time"], item["end_time"])


def _by_frame(item: Mapping[str, Any]) -> Span | None:
    if item.get("video") is None or item.get("start") is None or item.get("end") is None:
        return None
    return (item.get("camera"), item["video"]), (item["start"], item["end"])


def _spans(items: Items, span: Callable[[Mapping[str, Any]], Span | None]) -> dict[int, Span]:
    found = {}
    for row, item in enumerate(items):
        if (one := span(item)) is None:
            continue
        _, (start, end) = one
        if not all(isinstance(t, (int, float)) and not isinstance(t, bool) for t in (start, end)) or not start <= end:
            raise ValueError(f'tracklet "{item["tracklet"]}" ends at {end!r}, before it starts at {start!r}')
        found[row] = one
    return found
