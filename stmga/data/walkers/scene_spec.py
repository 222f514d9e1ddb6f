"""The settings of rendered scenes, checked once, and the random streams that they are drawn from."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from stmga.data.walkers.looks import Look, make_look
from stmga.data.walkers.scenes import Camera, make_camera
from stmga.data.walkers.spec import DIFFICULTIES, Difficulty, check_int

MOST = 10_000  # persons


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """What several fixed cameras film.

    Attributes:
        cameras: how many there are. They do not overlap: a person is in one of them at most.
        persons: how many people walk about; their numbers are from 1. A person looks as `render_walkers` draws them
            with the same seed and number.
        seconds: length of every video. All cameras start at the same time.
        fps: frames per second.
        size: (h, w) of the picture in pixels: even, at least 96, not higher than wide.
        seed: another seed is another population, other cameras and other walks.
        difficulty: `occlusion` is the probability of each of three things to stand in the way in each camera, and
            `similar_clothes` is that of walkers. Boxes are true, so `shift` does nothing.

    Raises:
        ValueError: a value out of its range.

    >>> SceneSpec(seconds=2.5, fps=10).frames
    25
    """

    cameras: int = 4
    persons: int = 30
    seconds: float = 60
    fps: int = 12
    size: tuple[int, int] = (360, 640)
    seed: int = 0
    difficulty: Difficulty = DIFFICULTIES["medium"]

    def __post_init__(self) -> None:
        for name, least in (("cameras", 1), ("persons", 1), ("fps", 1), ("seed", 0)):
            check_int(name, getattr(self, name), least)
        if self.persons > MOST:
            raise ValueError(f"persons={self.persons}: there are {MOST:,} of them at most")
        if isinstance(self.seconds, bool) or not isinstance(self.seconds, (int, float, np.integer, np.floating)):
            raise ValueError(f"seconds={self.seconds!r}: give a number")
        if not math.isfinite(self.seconds) or self.frames < 1:
            raise ValueError(f"seconds={self.seconds!r}: give at least one frame, 1 / {self.fps} seconds")
        whole = len(self.size) == 2 and all(isinstance(n, (int, np.integer)) for n in self.size)
        if not whole or min(self.size) < 96 or self.size[0] % 2 or self.size[1] % 2 or self.size[0] > self.size[1]:
            raise ValueError(f"size={self.size}: give (height, width), even, at least 96 each, not higher than wide")

    @property
    def frames(self) -> int:
        """Frames of every camera."""
        return round(self.seconds * self.fps)

    def about(self) -> dict[str, Any]:
        """The arguments as plain JSON values."""
        return {
            **{name: int(getattr(self, name)) for name in ("cameras", "persons", "fps", "seed")},
            "seconds": float(self.seconds),
            "size": [int(n) for n in self.size],
            "difficulty": {k: asdict(self.difficulty)[k] for k in ("occlusion", "similar_clothes")},
        }

    def stream(self, *key: int) -> np.random.Generator:
        """A random stream of its own for everything, so that one thing does not change the others."""
        return np.random.default_rng([self.seed, *key])

    def look(self, person: int) -> Look:
        """The person of this number, as in every other set of walkers of this seed."""
        return make_look(self.stream(1, person), similar_clothes=self.difficulty.similar_clothes)

    def camera(self, number: int) -> Camera:
        """The camera of this number, from 0."""
        return make_camera(self.stream(2, number), number)
