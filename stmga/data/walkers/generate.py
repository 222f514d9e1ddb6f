"""A benchmark of rendered walkers, as large and as hard as asked for: persons to train on, and others to be found.

All persons come from one population (`seed`) and all walk before the same cameras. Who is trained on, who is tested and
who is a distractor have ranges of numbers of their own, so that more training persons leave the test as it was.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from stmga.data.benchmark import Benchmark
from stmga.data.walkers.render import length_range, render_tracklet, tracklet_name, whole
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.files import atomic_write

logger = logging.getLogger(__name__)

TEST, DISTRACTORS, END = 10_000, 20_000, 30_000  # where the numbers of the test persons and of the distractors begin
QUALITY = 90  # of the JPEG crops
ABOUT, PROTOCOL, MANIFEST = "walkers.json", "protocol.json", "manifest.jsonl"
TERMS = "Rendered figures, nobody's picture: free for any use."


@dataclass(frozen=True, kw_only=True)
class Difficulty:
    """How hard it is to know a walker again; each is a number 0..1, see `render_tracklet`.

    Attributes:
        occlusion: chance that something comes between camera and person.
        shift: how far the boxes are off in place and scale.
        similar_clothes: chance that a garment is taken from a small dark wardrobe that all share.
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


def walkers_benchmark(
    train_persons: int = 64,
    test_persons: int = 32,
    *,
    distractors: int = 0,
    cameras: int = 3,
    tracklets: int = 2,
    frames: int | tuple[int, int] = 8,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    difficulty: str | Difficulty = "medium",
) -> Benchmark:
    """Rendered walkers in memory, with roles and protocol.

    Every person walks `tracklets` times before every camera. In the test the first tracklet of each person and camera
    asks and all others are the gallery, which the other queries join, as in MARS.

    Args:
        train_persons, test_persons: different people, of one population. Either may be 0.
        distractors: persons more in the gallery, whom no query looks for.
        cameras: the same for training and test; a test needs 2.
        tracklets: of each person before each camera.
        frames: of a tracklet, or a range (shortest, longest).
        size: (h, w) of a crop in pixels.
        seed: another seed is another population and other cameras.
        difficulty: "easy", "medium" or "hard" (`DIFFICULTIES`), or values of your own.

    Raises:
        ValueError: a number out of its range, an unknown difficulty, a test with a single camera.

    >>> made = walkers_benchmark(2, 3, cameras=2, frames=2, size=(64, 32), difficulty="easy")
    >>> len(made.train), len(made.query), len(made.gallery)
    (8, 6, 6)
    >>> made.protocol.data
    'walkers easy seed 0: 3 persons, 2 cameras, 2 tracklets each of 2 frames, 64x32'
    """
    plan = _Plan(train_persons, test_persons, distractors, cameras, tracklets, frames, size, seed, _named(difficulty))
    parts: dict[str, list[Tracklet]] = {"train": [], "query": [], "gallery": []}
    for walk in plan.walks():
        made = Tracklet(walk.name, plan.render(walk), walk.person, walk.camera, extra={"role": walk.role})
        parts[walk.role].append(made)
    return Benchmark(name=plan.name, protocol=plan.protocol(), terms=TERMS, **parts)


def write_benchmark(
    folder: str | Path,
    train_persons: int = 64,
    test_persons: int = 32,
    *,
    distractors: int = 0,
    cameras: int = 3,
    tracklets: int = 2,
    frames: int | tuple[int, int] = 8,
    size: tuple[int, int] = (128, 64),
    seed: int = 0,
    difficulty: str | Difficulty = "medium",
    workers: int = 0,
    progress: bool = False,
) -> Path:
    """`walkers_benchmark` as JPEG crops `folder/<role>/<tracklet>/<frame>.jpg`; gives the path of its manifest.

    Beside ``manifest.jsonl``, which is written last, lie ``protocol.json`` (name, terms and protocol) and
    ``walkers.json`` (the arguments). The same call after an interruption goes on where it stopped, and once all is
    there does nothing. The bytes do not depend on `workers`.

    Args:
        folder: new, empty, or of the same call.
        workers: processes that render; 0 is this one.
        progress: show a bar.

    The rest, and what is an error, as in `walkers_benchmark`; a ValueError also for a folder with anything else in it.

    >>> import tempfile
    >>> write_benchmark(tempfile.mkdtemp(), 1, 1, cameras=2, tracklets=1, frames=2, size=(64, 32)).name
    'manifest.jsonl'
    """
    plan = _Plan(train_persons, test_persons, distractors, cameras, tracklets, frames, size, seed, _named(difficulty))
    whole("workers", workers, 0)
    root = Path(folder).absolute()
    manifest = root / MANIFEST
    if not _claimed(root, plan):
        return manifest
    lines = _written(root, plan, workers, progress)
    words = {"name": plan.name, "terms": TERMS, "protocol": plan.protocol().to_dict()}
    atomic_write(root / PROTOCOL, _json(words))
    atomic_write(manifest, "".join(lines).encode())  # last: a manifest is there only if all its files are
    return manifest


class _Walk(NamedTuple):
    """One tracklet to be rendered."""

    role: str
    person: int
    camera: int
    number: int

    @property
    def name(self) -> str:
        return tracklet_name(self.person, self.camera, self.number)


@dataclass(frozen=True)
class _Plan:
    """The checked arguments, and what follows from them."""

    train_persons: int
    test_persons: int
    distractors: int
    cameras: int
    tracklets: int
    frames: int | tuple[int, int]
    size: tuple[int, int]
    seed: int
    difficulty: Difficulty

    def __post_init__(self) -> None:
        for name, least in (
            ("train_persons", 0), ("test_persons", 0), ("distractors", 0), ("cameras", 1), ("tracklets", 1), ("seed", 0)
        ):  # fmt: skip
            whole(name, getattr(self, name), least)
        for name in ("train_persons", "test_persons", "distractors"):
            if getattr(self, name) > TEST:
                raise ValueError(f"{name}={getattr(self, name)}: there are {TEST:,} of them at most")
        if not self.train_persons and not self.test_persons:
            raise ValueError("train_persons and test_persons are both 0: there is nobody to render")
        if self.test_persons and self.cameras < 2:
            raise ValueError("a test needs cameras=2 or more, got 1: own camera is left out; or set test_persons=0")
        if self.distractors and not self.test_persons:
            raise ValueError(f"distractors={self.distractors} are part of a test: set test_persons too")
        length_range(self.frames)
        render_tracklet(0, 0, frames=1, size=self.size)  # complains about the size

    @property
    def name(self) -> str:
        return f"walkers {self.difficulty} seed {self.seed}"

    def protocol(self) -> Protocol:
        """Figures compare where this is equal: it says all that the test depends on."""
        shortest, longest = length_range(self.frames)
        length = str(shortest) if shortest == longest else f"{shortest} to {longest}"
        others = f" and {self.distractors:,} distractors" if self.distractors else ""
        height, width = self.size
        data = f"{self.test_persons:,} persons{others}, {self.cameras} cameras, {self.tracklets} tracklets each"
        return Protocol(data=f"{self.name}: {data} of {length} frames, {height}x{width}")

    def walks(self) -> Iterator[_Walk]:
        for start, count in ((0, self.train_persons), (TEST, self.test_persons), (DISTRACTORS, self.distractors)):
            for person in range(start, start + count):
                for camera in range(self.cameras):
                    for number in range(self.tracklets):
                        role = "train" if start == 0 else "query" if start == TEST and number == 0 else "gallery"
                        yield _Walk(role, person, camera, number)

    def render(self, walk: _Walk) -> np.ndarray:
        shortest, longest = length_range(self.frames)
        own = np.random.default_rng([self.seed, 5, walk.person, walk.camera, walk.number])
        return render_tracklet(
            walk.person, walk.camera, tracklet=walk.number, frames=int(own.integers(shortest, longest + 1)),
            size=self.size, seed=self.seed, **asdict(self.difficulty),
        )  # fmt: skip


def _named(difficulty: str | Difficulty) -> Difficulty:
    if isinstance(difficulty, Difficulty):
        return difficulty
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"difficulty is one of {', '.join(DIFFICULTIES)}, or a Difficulty, got {difficulty!r}")
    return DIFFICULTIES[difficulty]


def _json(words: dict[str, Any]) -> bytes:
    return (json.dumps(words, indent=2, default=int) + "\n").encode()


def _claimed(root: Path, plan: _Plan) -> bool:
    """Whether there is anything left to write in `root`; ValueError if it holds something else."""
    about = _json(asdict(plan))
    if root.exists() and not root.is_dir():
        raise ValueError(f"{root} is no folder; name a new one for the walkers")
    if not root.exists() or not any(root.iterdir()):
        root.mkdir(parents=True, exist_ok=True)
        atomic_write(root / ABOUT, about)
    elif not (root / ABOUT).is_file():
        raise ValueError(f"{root} is no empty folder; name a new one for the walkers, or empty it")
    elif (root / ABOUT).read_bytes() != about:
        raise ValueError(f"{root} holds other walkers, see {ABOUT} there; name a new folder, or empty it")
    for left in root.glob("*/.*.tmp"):  # by a process that was killed
        shutil.rmtree(left)
    return not (root / MANIFEST).is_file()


def _written(root: Path, plan: _Plan, workers: int, progress: bool) -> list[str]:
    """Render what is not there yet; the lines of the manifest."""
    from tqdm import tqdm

    walks = list(plan.walks())
    with ExitStack() as stack:
        run: Any = map
        if workers:
            pool = stack.enter_context(ProcessPoolExecutor(workers))
            stack.callback(pool.shutdown, cancel_futures=True)
            run = partial(pool.map, chunksize=max(1, min(16, len(walks) // (4 * workers))))
        lines = run(partial(_write, root, plan), walks)
        return list(tqdm(lines, total=len(walks), unit="tracklet", disable=not progress))


def _write(root: Path, plan: _Plan, walk: _Walk) -> str:
    """One tracklet, whole or not at all; its line of the manifest."""
    from PIL import Image

    folder = root / walk.role / walk.name
    if not folder.is_dir():
        temp = folder.with_name(f".{walk.name}.{os.getpid()}.tmp")
        shutil.rmtree(temp, ignore_errors=True)
        temp.mkdir(parents=True)
        try:
            for i, pixels in enumerate(plan.render(walk)):
                Image.fromarray(pixels).save(temp / f"{i:04d}.jpg", quality=QUALITY)
            temp.rename(folder)
        finally:
            shutil.rmtree(temp, ignore_errors=True)
    names = [f"{walk.role}/{walk.name}/{i:04d}.jpg" for i in range(len(list(folder.iterdir())))]
    row = {"tracklet": walk.name, "person": walk.person, "camera": walk.camera, "frames": names, "role": walk.role}
    return json.dumps(row) + "\n"
