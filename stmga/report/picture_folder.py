"""The folder of a page's pictures. Names are made here, from row numbers: no id becomes a path."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image

from stmga.report.pictures import QUALITY, Made, Shot, cover_of, save_jpeg, write_pictures
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.split import evenly_spaced
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.utils.claim import FolderClaim

COVER, LARGE = 128, 224  # heights in pixels
THREADS = 8
CLAIM = FolderClaim(
    file="pictures.json",
    what="a folder of a report's pictures",
    other="has the pictures of another report",
    resume="Name a new folder for the report, or delete {folder}",
)


class PictureFolder:
    """Pictures of the tracklets of some items: their middle frame, and ``frames`` more of each for the detail view.

    Row 12 has ``000012.jpg``, ``000012-1.jpg``, ... and, where it was drawn, ``000012-parts.jpg``.

    Attributes:
        masks: by row, which pictures there are: bit 0 the middle frame, bit 1 the first of the others, ...
        new, reused: how many were written, and how many were there before.
        failed: why a tracklet has no picture, by tracklet.
    """

    def __init__(
        self, folder: Path, items: Sequence[Mapping[str, Any]], *, tracklets: Sequence[Tracklet] = (), frames: int = 0
    ) -> None:
        self.folder, self.items, self.frames = folder, items, frames
        self.masks = [0] * len(items)
        self.new = self.reused = 0
        self.failed: dict[str, str] = {}
        of_id = {tracklet.id: tracklet for tracklet in tracklets}
        self._frames = [_frames(item, of_id.get(str(item["tracklet"])), frames) for item in items]

    @contextmanager
    def hold(self) -> Iterator[bool]:
        """Claim the folder. Raises ValueError for one with pictures of other tracklets or sizes."""
        with CLAIM.hold(self.folder, self._about(), self._inputs()) as known:
            yield known

    def check(self) -> None:
        """Raise as :meth:`hold` does; changes nothing."""
        CLAIM.check(self.folder, self._about(), self._inputs())

    def write(self, *, workers: int | None = None, max_pixels: int = MAX_PIXELS, progress: bool = False) -> None:
        """Make those pictures that are missing."""
        threads = workers or min(THREADS, os.cpu_count() or 1)
        made = write_pictures(
            list(self._shots()), self.folder, workers=threads, max_pixels=max_pixels, progress=progress
        )
        self.new, self.reused = made.new, made.reused
        self._note(made)

    def save_parts(self, row: int, picture: Image.Image) -> None:
        """Keep a picture of the part attentions of a row."""
        save_jpeg(picture, self.folder / f"{row:06}-parts.jpg")

    def remove_parts(self) -> None:
        """Delete the pictures of part attentions of an earlier call."""
        for file in self.folder.glob("[0-9]*-parts.jpg"):
            file.unlink()

    def _shots(self) -> Iterator[Shot]:
        for row, frames in enumerate(self._frames):
            for which, frame in enumerate(frames):
                if frame is not None:
                    yield Shot(_name(row, which), frame, LARGE if which else COVER)

    def _note(self, made: Made) -> None:
        for row, frames in enumerate(self._frames):
            for which, frame in enumerate(frames):
                name = _name(row, which)
                if frame is not None and name not in made.failed:
                    self.masks[row] |= 1 << which
            tracklet, name = str(self.items[row]["tracklet"]), _name(row, 0)
            if name in made.failed:
                self.failed[tracklet] = made.failed[name]
            elif frames[0] is None:
                self.failed[tracklet] = "its frames are not on disk"

    def _about(self) -> dict[str, Any]:
        return {"height": COVER, "detail_height": LARGE, "detail_frames": self.frames, "quality": QUALITY}

    def _inputs(self) -> InputRecord:
        rows = zip(self.items, self._frames, strict=True)
        return InputRecord(Tracklet(str(item["tracklet"]), [f for f in frames if f]) for item, frames in rows)


def _frames(item: Mapping[str, Any], tracklet: Tracklet | None, count: int) -> list[Frame | None]:
    """The middle frame, then ``count`` evenly spread ones, as far as they are on disk."""
    if tracklet is None or not len(tracklet) or not isinstance(tracklet.frames[0], Frame):
        return [cover_of(item)]
    n = len(tracklet)
    return [tracklet.frames[n // 2], *(tracklet.frames[i] for i in evenly_spaced(n, count))]


def _name(row: int, which: int) -> str:
    return f"{row:06}-{which}.jpg" if which else f"{row:06}.jpg"
