"""Small JPEG pictures of frames on disk: images in a pool of threads, videos decoded in order."""

from __future__ import annotations

import contextlib
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stmga.tracklets.images import crop, read_image
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.tracklet import Frame
from stmga.tracklets.video import decode, frame_count
from stmga.utils.progress import progress_bar

QUALITY = 80
WIDEST = 2  # width of a picture at most, in heights: boxes of persons are upright, a wider one is a fault
WAITING = 64  # pictures in memory at most


@dataclass(frozen=True)
class Shot:
    """A frame to make a picture of: ``name`` is its file in the folder, ``height`` that of the picture at most."""

    name: str
    frame: Frame
    height: int


@dataclass
class Made:
    """What has become of the shots: how many were ``new`` or ``reused``, and why others ``failed``, by name."""

    new: int
    reused: int
    failed: dict[str, str]


def write_pictures(
    shots: Sequence[Shot], folder: Path, *, workers: int, max_pixels: int = MAX_PIXELS, progress: bool = False
) -> Made:
    """Write a JPEG file for each shot; those that are complete are kept as they are.

    Args:
        shots: their names are unique file names.
        folder: exists.
        workers: threads. Memory does not grow with the number of shots.

    Raises:
        OSError: a picture cannot be written. A frame that cannot be read is in ``failed``.
    """
    todo = [shot for shot in shots if not _is_whole(folder / shot.name)]
    made = Made(0, len(shots) - len(todo), {})
    with (
        ThreadPoolExecutor(workers) as pool,
        progress_bar(total=len(todo), desc="pictures", unit="picture", shown=progress) as bar,
    ):
        for name, reason in _in_turn(pool, _jobs(todo, folder, max_pixels)):
            bar.update()
            if reason:
                made.failed[name] = reason
            else:
                made.new += 1
    return made


Job = Callable[[], tuple[str, str]]  # gives the name of a shot, and why it failed or ""


def _jobs(shots: Iterable[Shot], folder: Path, max_pixels: int) -> Iterator[Job]:
    videos: dict[Path, list[Shot]] = defaultdict(list)
    for shot in shots:
        if shot.frame.index is None:
            yield _of_image(shot, folder, max_pixels)
        else:
            videos[shot.frame.file].append(shot)
    for file, of_video in videos.items():
        yield from _of_video(file, of_video, folder, max_pixels)


def _in_turn(pool: ThreadPoolExecutor, jobs: Iterator[Job]) -> Iterator[tuple[str, str]]:
    """Results as they come; at most `WAITING` jobs are started and not done."""
    running: set[Future[tuple[str, str]]] = set()
    try:
        for job in jobs:
            running.add(pool.submit(job))
            if len(running) >= WAITING:
                done, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in running)
    finally:
        for future in running:
            future.cancel()


def _of_image(shot: Shot, folder: Path, max_pixels: int) -> Job:
    def job() -> tuple[str, str]:
        try:
            picture = read_image(shot.frame.file, shot.frame.span, max_pixels)
        except Exception as error:  # Pillow's plugins raise whatever their format makes them raise
            return shot.name, f"cannot read {shot.frame.file}: {error}"
        return _write(shot, picture, folder)

    return job


def _of_video(file: Path, shots: Sequence[Shot], folder: Path, max_pixels: int) -> Iterator[Job]:
    """Pictures are decoded here, one after the other; cutting out and writing is what a thread does."""
    wanted: dict[int, list[Shot]] = defaultdict(list)
    for shot in shots:
        wanted[shot.frame.index or 0].append(shot)
    try:
        for index, picture in decode(file, _there(file, wanted), max_pixels):
            for shot in wanted.pop(index):
                yield lambda shot=shot, picture=picture: _write(shot, picture, folder)  # type: ignore[misc]
        reason = f"{file} ends before it"
    except (ValueError, ImportError) as error:  # what follows in this video cannot be read either
        reason = str(error)
    for shot in (shot for rest in wanted.values() for shot in rest):
        yield lambda shot=shot: (shot.name, reason)  # type: ignore[misc]


def _there(file: Path, wanted: Iterable[int]) -> list[int]:
    """The numbers of frames that the video has, as far as this is known without decoding it."""
    count = None
    with contextlib.suppress(Exception):  # `decode` says what is wrong with the file
        count = frame_count(file)
    return [index for index in wanted if count is None or index < count]


def _write(shot: Shot, picture: np.ndarray, folder: Path) -> tuple[str, str]:
    try:
        pixels = crop(picture, shot.frame.box)
    except ValueError as error:
        return shot.name, f"{shot.frame.file}: {error}"
    save_jpeg(Image.fromarray(pixels.permute(1, 2, 0).numpy()), folder / shot.name, shot.height)
    return shot.name, ""


def save_jpeg(image: Image.Image, path: Path, height: int | None = None) -> None:
    """Write an RGB image, scaled down to ``height`` if it is higher. The file is whole or absent."""
    if height is not None:
        image.thumbnail((WIDEST * height, height), Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "JPEG", quality=QUALITY)
    temp = path.with_name(f".{path.name}.tmp")  # swept by the claim of the folder if we are killed
    try:
        temp.write_bytes(data.getvalue())
        os.replace(temp, path)
    except OSError:
        with contextlib.suppress(OSError):
            temp.unlink()
        raise


def _is_whole(path: Path) -> bool:
    """Whether the file is there up to the end marker of JPEG."""
    try:
        with path.open("rb") as file:
            file.seek(-2, os.SEEK_END)
            return file.read() == b"\xff\xd9"
    except OSError:
        return False


def cover_of(item: Mapping[str, Any]) -> Frame | None:
    """The middle frame of an item of embeddings; None if its tracklet was in memory."""
    cover = item.get("cover")
    if cover is None:
        return None
    box, span = (tuple(cover[key]) if cover.get(key) is not None else None for key in ("box", "span"))
    return Frame(Path(cover["file"]), box, cover.get("index"), span)
