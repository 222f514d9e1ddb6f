"""The settings that all tracklets of a set of walkers share, checked once: lengths, size, population, difficulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypedDict

import numpy as np

from stmga.utils.text import did_you_mean


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard it is to recognize a walker; each is a number from 0 to 1.

    Attributes:
        occlusion: chance that something comes between camera and person in part of the frames.
        shift: how far the boxes of the "detector" are off in position and scale.
        similar_clothes: chance that a garment is taken from a small dark wardrobe that all people share.

    Raises:
        ValueError: a value outside 0..1.
    """

    occlusion: float
    shift: float
    similar_clothes: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
                raise ValueError(f"{name}={value!r}: give a number from 0 to 1")

    def __str__(self) -> str:
        """Its name, or its values if it has none."""
        words = f"occlusion {self.occlusion:g}, shift {self.shift:g}, similar clothes {self.similar_clothes:g}"
        return next((name for name, known in DIFFICULTIES.items() if known == self), words)


DIFFICULTIES = {
    "easy": Difficulty(occlusion=0.0, shift=0.1, similar_clothes=0.0),
    "medium": Difficulty(occlusion=0.35, shift=0.4, similar_clothes=0.3),
    "hard": Difficulty(occlusion=0.7, shift=0.8, similar_clothes=0.7),
}


class PictureOptions(TypedDict, total=False):
    """Keyword arguments that every function with walkers takes, see `WalkerSpec`."""

    frames: int | tuple[int, int]
    size: tuple[int, int]
    seed: int


class WalkerOptions(PictureOptions, total=False):
    """`PictureOptions`, and the values of a `Difficulty`; see `WalkerSpec`."""

    occlusion: float
    shift: float
    similar_clothes: float


@dataclass(frozen=True, kw_only=True)
class WalkerSpec:
    """How walkers are rendered. The functions of `stmga.data` take its fields as keyword arguments.

    Attributes:
        frames: length t of a tracklet, or a range (shortest, longest): then each tracklet has its own length.
        size: (h, w) of a crop in pixels, at least 16 each.
        seed: another seed is another population and other cameras.
        occlusion, shift, similar_clothes: see `Difficulty`.

    Raises:
        ValueError: a value out of its range.

    >>> WalkerSpec(frames=(2, 5), shift=0.5).lengths
    (2, 5)
    """

    frames: int | tuple[int, int] = 8
    size: tuple[int, int] = (128, 64)
    seed: int = 0
    occlusion: float = 0.25
    shift: float = 0.3
    similar_clothes: float = 0.0

    def __post_init__(self) -> None:
        check_int("seed", self.seed, 0)
        shortest, longest = self.lengths
        if longest < shortest:
            raise ValueError(f"frames={self.frames}: a range is (shortest, longest)")
        if len(self.size) != 2 or not all(isinstance(n, (int, np.integer)) and n >= 16 for n in self.size):
            raise ValueError(f"size={self.size}: give (height, width) in whole pixels, at least 16 each")
        _ = self.difficulty  # checks its values

    @property
    def lengths(self) -> tuple[int, int]:
        """(shortest, longest) of the lengths that `frames` allows."""
        ends = self.frames if isinstance(self.frames, tuple) and len(self.frames) == 2 else (self.frames, self.frames)
        return check_int("frames", ends[0], 1), check_int("frames", ends[1], 1)

    @property
    def difficulty(self) -> Difficulty:
        return Difficulty(occlusion=self.occlusion, shift=self.shift, similar_clothes=self.similar_clothes)


def spec_from(options: Mapping[str, Any], difficulty: Difficulty | None = None) -> WalkerSpec:
    """The spec for keyword arguments; `difficulty` replaces its three values.

    Raises:
        TypeError: an argument that does not exist.
        ValueError: a value out of its range.
    """
    fixed = asdict(difficulty) if difficulty else {}
    known = [field.name for field in fields(WalkerSpec) if field.name not in fixed]
    for name in options:
        if name not in known:
            hint = "give difficulty=Difficulty(...)" if name in fixed else did_you_mean(name, known)
            raise TypeError(f"unknown argument {name!r}, expected {', '.join(known)}{'; ' if hint else ''}{hint}")
    return WalkerSpec(**options, **fixed)


def check_int(name: str, value: object, least: int) -> int:
    """`value` if it is a whole number of at least `least`."""
    if not isinstance(value, (int, np.integer)) or value < least:
        raise ValueError(f"{name}={value!r}: give a whole number of at least {least}")
    return int(value)
