"""The shards of a pack: written one after another, each whole or not at all; writing resumes after a kill."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from stmga.tracklets.images import read_bytes
from stmga.tracklets.manifest import manifest_line
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.utils.files import atomic_path, atomic_write
from stmga.utils.foreign import fast_json
from stmga.utils.progress import progress_bar

logger = logging.getLogger(__name__)

MiB = 1024 * 1024
CHUNK = 16  # files per task of a reader thread

Item = tuple[Path, "tuple[int, int] | None"]  # an image: a file, or a span of one
Job = tuple[str, list[Item]]  # of one tracklet


@dataclass
class Shards:
    """What `pack` writes: shards, and until all are done, a file of manifest lines beside each."""

    folder: Path
    tracklets: list[Tracklet]
    shard_bytes: int
    workers: int
    progress: bool

    def write(self) -> bytes:
        """Write the missing shards; returns all lines of the manifest."""
        done, lines = self._finished()
        todo = self.tracklets[sum(line.count(b"\n") for line in lines) :]
        if done:
            logger.info("%s: %d shards are there, %s tracklets to go", self.folder, done, f"{len(todo):,}")
        images = read_ahead(((t.id, _items(t)) for t in todo), self.workers)
        rest = iter(self._with_bar(todo))
        tracklet = next(rest, None)
        while tracklet is not None:
            shard, side = self._names(done)
            try:
                with atomic_path(shard) as temp:
                    with open(temp, "wb") as out:
                        tracklet, text = self._fill(out, shard, tracklet, rest, images)
                    atomic_write(side, text)
            except OSError as error:
                words = f"the {done} shards finished before it stay: make room and run the same command to resume"
                raise OSError(error.errno, f"{error.strerror}; {words}", str(shard)) from error
            lines.append(text)
            done += 1
        return b"".join(lines)

    def tidy(self) -> None:
        """Remove the files of lines beside the shards, which are now in the manifest."""
        for side in self.folder.glob("shard-*.jsonl"):
            side.unlink(missing_ok=True)

    def _names(self, number: int) -> tuple[Path, Path]:
        return self.folder / f"shard-{number:05d}.bin", self.folder / f"shard-{number:05d}.jsonl"

    def _finished(self) -> tuple[int, list[bytes]]:
        """How many shards exist, counted from the first without a gap, and the lines of each."""
        found: list[bytes] = []
        while True:
            shard, side = self._names(len(found))
            if not (shard.is_file() and side.is_file()):
                return len(found), found
            text = side.read_bytes()
            try:
                rows = [fast_json(line)["frames"]["spans"] for line in text.splitlines()]
                size = max(offset + length for spans in rows for offset, length in spans)
            except (ValueError, LookupError, TypeError):
                return len(found), found
            if size != shard.stat().st_size:
                return len(found), found
            found.append(text)

    def _fill(
        self, out: BinaryIO, shard: Path, tracklet: Tracklet, rest: Iterator[Tracklet], images: Iterator[bytes]
    ) -> tuple[Tracklet | None, bytes]:
        """Write whole tracklets from `tracklet` on; returns the first of the next shard, and the lines."""
        seen: dict[Item, tuple[int, int]] = {}  # an image is written once per shard, however many boxes it has
        lines, size = [], 0
        upcoming: Tracklet | None = tracklet
        while upcoming is not None and size < self.shard_bytes:
            for item in _items(upcoming):
                data = next(images)
                if item not in seen:
                    out.write(data)
                    seen[item] = (size, len(data))
                    size += len(data)
            frames = tuple(Frame(shard, f.box, None, seen[f.file, f.span]) for f in upcoming.frames)
            lines.append(manifest_line(replace(upcoming, frames=frames), self.folder))
            upcoming = next(rest, None)
        return upcoming, "".join(lines).encode()

    def _with_bar(self, todo: list[Tracklet]) -> Iterable[Tracklet]:
        if not self.progress:
            return todo
        done = len(self.tracklets) - len(todo)
        return progress_bar(todo, desc="packing", unit="tracklet", initial=done, total=len(self.tracklets), shown=True)


def read_ahead(jobs: Iterable[Job], workers: int) -> Iterator[bytes]:
    """The bytes of every image, in order; threads read a little ahead.

    Raises TrackletError for a file that cannot be read or is empty; it names the tracklet.
    """
    waiting: deque[Future[list[bytes]]] = deque()
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        for name, items in _chunks(jobs):
            waiting.append(pool.submit(_read, name, items))
            if len(waiting) >= 2 * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _chunks(jobs: Iterable[Job]) -> Iterator[Job]:
    for name, items in jobs:
        for start in range(0, len(items), CHUNK):
            yield name, items[start : start + CHUNK]


def _items(tracklet: Tracklet) -> list[Item]:
    """The images of a tracklet, each once."""
    return list(dict.fromkeys((frame.file, frame.span) for frame in tracklet.frames))


def _read(name: str, items: list[Item]) -> list[bytes]:
    found = []
    for file, span in items:
        try:
            data = read_bytes(file, span)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise TrackletError(f'tracklet "{name}": {file} cannot be read: {reason}') from error
        if not data:
            raise TrackletError(f'tracklet "{name}": {file} is empty (0 bytes)')
        found.append(data)
    return found
