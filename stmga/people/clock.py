"""When a frame was filmed: the start of a video, by the camera's clock, and the time stamps in it."""

from __future__ import annotations

from datetime import datetime


def start_time(text: str) -> float:
    """A date with time and time zone -> seconds since 1970 UTC.

    >>> start_time("2026-11-28T10:00:00+01:00")
    1795856400.0
    """
    example = "2026-11-28T10:00:00+01:00"
    try:
        found = datetime.fromisoformat(text.strip().replace("Z", "+00:00"))
    except ValueError as error:
        raise ValueError(f"start must be a date and a time as {example}, got {text!r}") from error
    if found.tzinfo is None:
        raise ValueError(f"start {text!r} has no time zone: write {found.isoformat()}+01:00, or Z for UTC")
    return found.timestamp()


class Clock:
    """Seconds since the first frame, by time stamps where they rise, else by frames per second.

    Args:
        fps: frames per second.

    >>> clock = Clock(10)
    >>> [clock(stamp) for stamp in (5.0, 5.2, None, 3.0, 3.1)], clock.guessed
    ([0.0, 0.2, 0.3, 0.4, 0.5], 2)
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.frames = self.guessed = 0
        self._at = 0.0
        self._last: float | None = None

    def __call__(self, stamp: float | None) -> float:
        """The time of the next frame. Time never stands still or runs backwards."""
        self.frames += 1
        if self.frames > 1:
            step = stamp - self._last if stamp is not None and self._last is not None else 0
            good = step > 0
            self.guessed += not good
            self._at += step if good else 1 / self.fps
        self._last = stamp if stamp is not None else None if self._last is None else self._last + 1 / self.fps
        return round(self._at, 6)

    def __str__(self) -> str:
        if not self.guessed:
            return "time stamps of the video"
        if self.guessed >= self.frames - 1:
            return f"{self.fps:g} frames per second: the video has no time stamps"
        return f"time stamps of the video; {self.guessed:,} of {self.frames:,} frames have no usable one: 1/fps"
