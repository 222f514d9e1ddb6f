"""Sets of walkers: rendered in memory, or written as JPEG crops with a manifest."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from stmga.data.walkers.shot import Shot
from stmga.data.walkers.spec import WalkerSpec, check_int
from stmga.tracklets.manifest import manifest_line
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.claim import FolderClaim
from stmga.utils.files import atomic_write
from stmga.utils.progress import progress_bar

MANIFEST = "manifest.jsonl"
CLAIM = FolderClaim(file="walkers.json", what="a folder of walkers", other="holds other walkers")


class Walk(NamedTuple):
    """One tracklet of a set."""

    role: str
    person: int
    camera: int
    number: int
    frames: int

    @property
    def name(self) -> str:
        return f"p{self.person:04d}_c{self.camera}_t{self.number}"

    def tracklet(self, frames: Any) -> Tracklet:
        return Tracklet(self.name, frames, self.person, self.camera, extra={"role": self.role})


def rendered(spec: WalkerSpec, walk: Walk) -> Tracklet:
    """The tracklet in memory, its frames uint8 (t, h, w, 3)."""
    shot = Shot(spec, walk.person, walk.camera, walk.number, walk.frames)
    return walk.tracklet(shot.render(labels=False)[0])


@dataclass(frozen=True)
class Crops:
    """A set on disk: one folder of JPEG crops per tracklet, and ``manifest.jsonl``, which is written last.

    Args:
        folder: new, empty, or of the same set, whose files are kept.
        spec: how walkers are rendered.
        layout: of a tracklet's folder, with ``{role}`` and ``{tracklet}``.
        quality: of the JPEG files.
    """

    folder: Path
    spec: WalkerSpec
    layout: str = "{tracklet}"
    quality: int = 90

    def write(
        self,
        walks: Iterable[Walk],
        about: Mapping[str, Any],
        *,
        beside: Mapping[str, bytes] | None = None,
        workers: int = 0,
        progress: bool = False,
    ) -> Path:
        """Render what is missing; returns the path of the manifest.

        Args:
            walks: the tracklets, in the order of the manifest.
            about: the arguments, stored in ``walkers.json``: a folder of other arguments is refused.
            beside: other files to write before the manifest, by name.
            workers: processes that render; 0 renders in this one.
            progress: show a bar.

        Raises:
            ValueError: the folder contains something else, another process writes it, or ``workers`` is below 0.
            OSError: a file cannot be written. Whole tracklets are kept, and the same call resumes.
        """
        check_int("workers", workers, 0)
        manifest = self.folder / MANIFEST
        with CLAIM.hold(self.folder, json.loads(json.dumps(about, default=int))):  # a numpy integer is not a JSON value
            if manifest.is_file():
                return manifest
            lines = self._render(list(walks), workers, progress)
            for name, data in (beside or {}).items():
                atomic_write(self.folder / name, data)
            atomic_write(manifest, "".join(lines).encode())  # last: a manifest exists only if all its files do
        return manifest

    def _render(self, walks: Sequence[Walk], workers: int, progress: bool) -> list[str]:
        """Render the missing tracklets; returns the lines of the manifest."""
        with ExitStack() as stack:
            run: Any = map
            if workers:
                pool = stack.enter_context(ProcessPoolExecutor(workers))
                stack.callback(pool.shutdown, cancel_futures=True)
                run = partial(pool.map, chunksize=max(1, min(16, len(walks) // (4 * workers))))
            return list(progress_bar(run(self._write, walks), total=len(walks), unit="tracklet", shown=progress))

    def _write(self, walk: Walk) -> str:
        """Write one tracklet, whole or not at all; returns its line of the manifest."""
        from PIL import Image

        folder = self.folder / self.layout.format(role=walk.role, tracklet=walk.name)
        files = [folder / f"{i:04d}.jpg" for i in range(walk.frames)]
        if not folder.is_dir():
            temp = folder.with_name(f".{walk.name}.{os.getpid()}.tmp")
            shutil.rmtree(temp, ignore_errors=True)
            temp.mkdir(parents=True)
            try:
                for file, pixels in zip(files, rendered(self.spec, walk).frames, strict=True):
                    Image.fromarray(pixels).save(temp / file.name, quality=self.quality)
                temp.rename(folder)
            finally:
                shutil.rmtree(temp, ignore_errors=True)
        return manifest_line(walk.tracklet(files), self.folder)
