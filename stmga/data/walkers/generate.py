"""A benchmark of rendered walkers of any size and difficulty: persons to train on, and others to test on.

All persons come from one population (`seed`) and are seen by the same cameras. Training persons, test persons and
distractors have separate ranges of numbers, so that more training persons do not change the test.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stmga.data.benchmark import Benchmark
from stmga.data.walkers.crops import Crops, Walk, rendered
from stmga.data.walkers.spec import DIFFICULTIES, Difficulty, PictureOptions, WalkerSpec, check_int, spec_from
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Tracklet

if TYPE_CHECKING:
    from typing_extensions import Unpack

TEST, DISTRACTORS = 10_000, 20_000  # first numbers of the test persons and of the distractors
PROTOCOL = "protocol.json"
TERMS = "Rendered figures, nobody's picture: free for any use."


def walkers_benchmark(
    train_persons: int = 64,
    test_persons: int = 32,
    *,
    distractors: int = 0,
    cameras: int = 3,
    tracklets: int = 2,
    difficulty: str | Difficulty = "medium",
    **options: Unpack[PictureOptions],
) -> Benchmark:
    """Rendered walkers in memory, with roles and protocol.

    Every camera sees every person `tracklets` times. In the test, the first tracklet of each person and camera is a
    query. All others are the gallery, and so are the other queries, as in MARS.

    Args:
        train_persons, test_persons: different people, of one population. Either may be 0.
        distractors: additional persons in the gallery who are not queries.
        cameras: the same for training and test; a test needs 2.
        tracklets: of each person in each camera.
        difficulty: "easy", "medium" or "hard" (`DIFFICULTIES`), or values of your own.
        options: `frames`, `size`, `seed`: see `WalkerSpec`.

    Raises:
        ValueError: a number out of its range, an unknown difficulty, a test with a single camera.

    >>> made = walkers_benchmark(2, 3, cameras=2, frames=2, size=(64, 32), difficulty="easy")
    >>> len(made.train), len(made.query), len(made.gallery)
    (8, 6, 6)
    >>> made.protocol.data
    'walkers easy seed 0: 3 persons, 2 cameras, 2 tracklets each of 2 frames, 64x32'
    """
    spec = spec_from(options, named_difficulty(difficulty))
    plan = _Plan(train_persons, test_persons, distractors, cameras, tracklets, spec)
    parts: dict[str, list[Tracklet]] = {"train": [], "query": [], "gallery": []}
    for walk in plan.walks():
        parts[walk.role].append(rendered(spec, walk))
    return Benchmark(name=plan.name, protocol=plan.protocol(), terms=TERMS, **parts)


def write_benchmark(
    folder: str | Path,
    train_persons: int = 64,
    test_persons: int = 32,
    *,
    distractors: int = 0,
    cameras: int = 3,
    tracklets: int = 2,
    difficulty: str | Difficulty = "medium",
    workers: int = 0,
    progress: bool = False,
    **options: Unpack[PictureOptions],
) -> Path:
    """`walkers_benchmark` as JPEG crops `folder/<role>/<tracklet>/<frame>.jpg`; returns the path of its manifest.

    Beside ``manifest.jsonl``, which is written last, are ``protocol.json`` (name, terms and protocol) and
    ``walkers.json`` (the arguments). After an interruption, the same call resumes; once finished, it does nothing. The
    bytes do not depend on `workers`.

    Args:
        folder: new, empty, or of the same call.
        workers: processes that render; 0 renders in this one.
        progress: show a bar.

    Other arguments and errors as in `walkers_benchmark`. A folder with other contents is a ValueError.

    >>> import tempfile
    >>> write_benchmark(tempfile.mkdtemp(), 1, 1, cameras=2, tracklets=1, frames=2, size=(64, 32)).name
    'manifest.jsonl'
    """
    spec = spec_from(options, named_difficulty(difficulty))
    plan = _Plan(train_persons, test_persons, distractors, cameras, tracklets, spec)
    words = {"name": plan.name, "terms": TERMS, "protocol": plan.protocol().to_dict()}
    return Crops(Path(folder).absolute(), spec, "{role}/{tracklet}").write(
        plan.walks(),
        plan.about(),
        beside={PROTOCOL: (json.dumps(words, indent=2) + "\n").encode()},
        workers=workers,
        progress=progress,
    )


@dataclass(frozen=True)
class _Plan:
    """The checked arguments, and values derived from them."""

    train_persons: int
    test_persons: int
    distractors: int
    cameras: int
    tracklets: int
    spec: WalkerSpec

    def __post_init__(self) -> None:
        for name, least in (
            ("train_persons", 0), ("test_persons", 0), ("distractors", 0), ("cameras", 1), ("tracklets", 1)
        ):  # fmt: skip
            check_int(name, getattr(self, name), least)
        for name in ("train_persons", "test_persons", "distractors"):
            if getattr(self, name) > TEST:
                raise ValueError(f"{name}={getattr(self, name)}: there are {TEST:,} of them at most")
        if not self.train_persons and not self.test_persons:
            raise ValueError("train_persons and test_persons are both 0: there is nobody to render")
        if self.test_persons and self.cameras < 2:
            raise ValueError("a test needs cameras=2 or more, got 1: own camera is left out; or set test_persons=0")
        if self.distractors and not self.test_persons:
            raise ValueError(f"distractors={self.distractors} are part of a test: set test_persons too")

    @property
    def name(self) -> str:
        return f"walkers {self.spec.difficulty} seed {self.spec.seed}"

    def about(self) -> dict[str, Any]:
        """The arguments, as the user gave them."""
        counts = {name: value for name, value in vars(self).items() if name != "spec"}
        spec = self.spec
        pictures = {"frames": spec.frames, "size": spec.size, "seed": spec.seed}
        return {**counts, **pictures, "difficulty": asdict(spec.difficulty)}

    def protocol(self) -> Protocol:
        """Everything that the test depends on. Figures can be compared if it is equal."""
        shortest, longest = self.spec.lengths
        length = str(shortest) if shortest == longest else f"{shortest} to {longest}"
        others = f" and {self.distractors:,} distractors" if self.distractors else ""
        height, width = self.spec.size
        data = f"{self.test_persons:,} persons{others}, {self.cameras} cameras, {self.tracklets} tracklets each"
        return Protocol(data=f"{self.name}: {data} of {length} frames, {height}x{width}")

    def walks(self) -> Iterator[Walk]:
        shortest, longest = self.spec.lengths
        for start, count in ((0, self.train_persons), (TEST, self.test_persons), (DISTRACTORS, self.distractors)):
            for person in range(start, start + count):
                for camera in range(self.cameras):
                    for number in range(self.tracklets):
                        role = "train" if start == 0 else "query" if start == TEST and number == 0 else "gallery"
                        own = np.random.default_rng([self.spec.seed, 5, person, camera, number])
                        yield Walk(role, person, camera, number, int(own.integers(shortest, longest + 1)))


def named_difficulty(difficulty: str | Difficulty) -> Difficulty:
    if isinstance(difficulty, Difficulty):
        return difficulty
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty is one of {', '.join(DIFFICULTIES)}, or a Difficulty, got {difficulty!r}")
    return DIFFICULTIES[difficulty]
