"""Checks every tracklet of an input once and reports all faults together; readers and embedder call it."""

from __future__ import annotations

import json
import logging
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga.tracklets.images import image_size, outside
from stmga.tracklets.limits import MAX_PIXELS, check_pixels
from stmga.tracklets.pillow import check_image
from stmga.tracklets.pixels import check_layout, is_image
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.utils.foreign import check_depth

logger = logging.getLogger(__name__)

MADE = ("cover", "flip", "two_sizes")  # keys of items that stmga alone writes
RESERVED = ("tracklet", "person", "camera", "time", "frames", *MADE)  # keys that `extra` may not have
SHARES = "are the boxes shares of the frame (normalised)? Multiply x, w by its width and y, h by its height"
MOST = sys.float_info.max  # a larger integer is not a float; math.isfinite would raise OverflowError
CHUNK = 64  # files a thread opens before it fetches more

Place = Callable[[int, "int | None"], str]  # (tracklet number, frame number or None) -> its location, as text
Size = tuple[int, int, "int | None"]  # width, height, frames (None: an image, or a video whose header does not say)


def check_tracklets(
    tracklets: Sequence[Tracklet],
    *,
    check_files: bool = True,
    place: Place | None = None,
    faults: Iterable[str] = (),
    sizes: Mapping[Path, Size | str] | None = None,
    max_pixels: int | None = None,
) -> list[Tracklet]:
    """The tracklets, marked as checked; one `TrackletError` with every fault of every tracklet if there are any.

    Checks ids, labels, array shapes and types, and opens the header of every file once (files of tracklets that were
    checked before are not opened again). The first picture of a video is decoded, but no image is: a truncated image is
    found when it is loaded. A box that crosses the frame's edge is not a fault. A warning counts such boxes, and
    `Tracklet.load` clips them (if no files were checked, it warns once per tracklet).

    Args:
        check_files: False opens no file and marks nothing as checked: faults of files are found on loading.
        place: gives the location of a tracklet or frame in the user's file; default: the tracklet's id.
        faults: faults that a reader has already found, to be reported with the rest.
        sizes: results of `sizes_of` for these files, so that no header is read twice.
        max_pixels: limit for the returned tracklets; default: their own, initially 64 million.

    >>> check_tracklets([Tracklet("a", ())])
    Traceback (most recent call last):
    stmga.tracklets.tracklet.TrackletError: tracklet "a": has no frames
    """
    place = place or (lambda number, frame: f'tracklet "{tracklets[number].id}"')
    found = list(faults)
    if max_pixels is not None:
        tracklets = [tracklet.with_max_pixels(max_pixels) for tracklet in tracklets]
    if not tracklets and not found:
        found.append("no tracklets: the input is empty")
    found += _ids(tracklets, place)
    for number, tracklet in enumerate(tracklets):
        found += [f"{place(number, None)}: {fault}" for fault in _labels(tracklet)]
        found += [f"{place(number, i)}: {fault}" for i, fault in _frames(tracklet.frames, tracklet.max_pixels)]
    if check_files:
        found += _files(tracklets, place, sizes)
    if found:
        raise TrackletError(found)
    return [tracklet.as_checked() for tracklet in tracklets] if check_files else list(tracklets)


def _ids(tracklets: Sequence[Tracklet], place: Place) -> Iterator[str]:
    first: dict[str, int] = {}
    for number, tracklet in enumerate(tracklets):
        if not isinstance(tracklet.id, str) or not tracklet.id:
            yield f"{place(number, None)}: the id must be a string that is not empty, got {tracklet.id!r}"
            continue
        earlier = first.setdefault(tracklet.id, number)
        if earlier != number:
            cameras = (tracklets[earlier].camera, tracklet.camera)
            what = f", two cameras in one tracklet {cameras}" if cameras[0] != cameras[1] else ""
            yield f'{place(number, None)}: duplicate id "{tracklet.id}"{what}; first: {place(earlier, None)}'


def _labels(tracklet: Tracklet) -> Iterator[str]:
    for name in ("person", "camera"):
        label = getattr(tracklet, name)
        if name == "camera" and isinstance(label, (list, tuple, set, dict, np.ndarray, torch.Tensor)):
            yield f"two cameras in one tracklet: camera is {label!r}; expected one, or null if unknown"
        elif isinstance(label, bool) or not (label is None or isinstance(label, (str, int))):
            yield f"{name} must be a string, an integer or null, got {label!r}"
    time = tracklet.time
    if isinstance(time, bool) or not (time is None or (isinstance(time, (int, float)) and abs(time) <= MOST)):
        yield f"time must be a number of seconds or null, got {time!r}"
    try:
        reserved = [key for key in tracklet.extra if key in RESERVED]
        check_depth(tracklet.extra)
        json.dumps(dict(tracklet.extra), allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"extra must be a mapping of plain JSON values: {error}"
    else:
        if reserved:
            yield f"extra has the key {reserved[0]!r}, which has a meaning of its own: give it another name"


def _frames(frames: Any, max_pixels: int) -> Iterator[tuple[int | None, str]]:
    """Faults that can be found without opening a file."""
    if isinstance(frames, (np.ndarray, torch.Tensor)):
        if fault := _pixels_fault(frames, 4, max_pixels):
            yield None, fault
    elif not isinstance(frames, tuple):
        yield None, f"frames must be a list of paths or images, an array or a tensor, got {type(frames).__name__}"
    elif len(frames) == 0:
        yield None, "has no frames"
    else:
        for i, frame in enumerate(frames):
            if fault := _one_frame(frame, max_pixels):
                yield i, f"frame {i}: {fault}"


def _one_frame(frame: Any, max_pixels: int) -> str | None:
    if isinstance(frame, Frame):
        if frame.index is not None and frame.index < 0:
            return f"{frame.file}: the index of a video frame counts from 0, got {frame.index}"
        if frame.box is not None and not (all(abs(side) <= MOST for side in frame.box) and min(frame.box[2:]) > 0):
            return f"{frame.file}: box {frame.box} has no area; expected x, y, width, height in pixels"
        if frame.box is not None and min(frame.box[2:]) < 1:
            return f"{frame.file}: box {frame.box} is less than a pixel; {SHARES}"
        if frame.span is not None and (frame.index is not None or frame.span[0] < 0 or frame.span[1] < 1):
            return f"{frame.file}: span {frame.span} must be (offset, length) in bytes of an image, and of no video"
        return None
    if isinstance(frame, (np.ndarray, torch.Tensor)):
        return _pixels_fault(frame, 3, max_pixels)
    if not is_image(frame):
        return f"expected a path, a PIL image, an array or a tensor, got {type(frame).__name__}"
    return _fault(check_image, frame, max_pixels) if min(frame.size) > 0 else "the image has no pixels"


def _pixels_fault(pixels: np.ndarray | torch.Tensor, ndim: int, max_pixels: int) -> str | None:
    if fault := _fault(check_layout, pixels, ndim):
        return fault
    if 0 in pixels.shape:
        return (
            "has no frames" if ndim == 4 and not len(pixels) else f"frames have no pixels: shape {tuple(pixels.shape)}"
        )
    return _fault(check_pixels, *_size_of(pixels), max_pixels)


def _size_of(pixels: np.ndarray | torch.Tensor) -> tuple[int, int]:
    """Width and height of an array (..., h, w, 3) or a tensor (..., 3, h, w)."""
    height, width = pixels.shape[-3:-1] if isinstance(pixels, np.ndarray) else pixels.shape[-2:]
    return int(width), int(height)


def _fault(check: Callable[..., None], *args: Any) -> str | None:
    try:
        check(*args)
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def _files(tracklets: Sequence[Tracklet], place: Place, sizes: Mapping[Path, Size | str] | None = None) -> list[str]:
    """Faults of files and of boxes in them; every file is opened once, however many frames it has."""
    on_disk = [
        (number, i, frame)
        for number, tracklet in enumerate(tracklets)
        if not tracklet.checked and isinstance(tracklet.frames, tuple)
        for i, frame in enumerate(tracklet.frames)
        if isinstance(frame, Frame)
    ]
    limit = max((tracklets[number].max_pixels for number, _, _ in on_disk), default=MAX_PIXELS)  # load() looks again
    packed = [item for item in on_disk if item[2].span is not None]
    if packed:
        alone = [item for item in on_disk if item[2].span is None]
        return _packed(packed, place) + _unpacked(alone, place, limit)
    return _unpacked(on_disk, place, limit, sizes)


def _packed(frames: list[tuple[int, int, Frame]], place: Place) -> list[str]:
    """Faults of the shards that contain frames: the size of each is checked once, none is opened."""
    ends: dict[Path, tuple[int, int, int]] = {}
    for number, i, frame in frames:
        assert frame.span is not None
        end = frame.span[0] + frame.span[1]
        if end > ends.get(frame.file, (0, 0, 0))[0]:
            ends[frame.file] = (end, number, i)
    faults = []
    for file, (end, number, i) in ends.items():
        try:
            found = file.stat()
        except FileNotFoundError:
            what = "does not exist"
        except (OSError, ValueError) as error:  # ValueError: NUL or half of a surrogate pair in the name
            what = f"cannot be read: {getattr(error, 'strerror', error)}"
        else:
            regular = stat.S_ISREG(found.st_mode)
            if regular and found.st_size >= end:
                continue
            less = f"has {found.st_size:,} bytes, its frames go up to {end:,}: it is not whole"
            what = less if regular else "is not a regular file"
        faults.append(f"{place(number, i)}: {file} {what}; copy the pack again, or pack the data again")
    return faults


def _unpacked(
    on_disk: list[tuple[int, int, Frame]], place: Place, max_pixels: int, sizes: Mapping[Path, Size | str] | None = None
) -> list[str]:
    sizes = sizes_of((frame for _, _, frame in on_disk), max_pixels) if sizes is None else sizes
    uses = Counter(frame.file for _, _, frame in on_disk)
    faults, clipped = [], []
    for number, i, frame in on_disk:
        size = sizes[frame.file]
        if isinstance(size, str):
            if count := uses.pop(frame.file, 0):  # a bad file is one fault, however many frames use it
                faults.append(f"{place(number, i)}: {size}" + (f" ({count:,} frames use it)" if count > 1 else ""))
        elif (total := _frame_count(frame, size)) is not None:
            faults.append(f"{place(number, i)}: {frame.file} has {total} frames, no frame {frame.index} (from 0)")
        elif frame.box is None or min(frame.box[2:]) <= 0:  # no area: already reported
            continue
        elif (place_of_box := outside(frame.box, *size[:2])) == "wholly":
            faults.append(f"{place(number, i)}: box {frame.box} is outside {frame.file}, {size[0]} x {size[1]} pixels")
        elif place_of_box:
            clipped.append(place(number, i))
    if clipped:
        boxes = sum(frame.box is not None for _, _, frame in on_disk)
        words = "%d of %d boxes reach over the edge of their frame and are clipped; first: %s"
        logger.warning(words, len(clipped), boxes, clipped[0])
    return faults


def _frame_count(frame: Frame, size: Size) -> int | None:
    """How many frames its video has, if too few. If the header's count is too low, packets are counted."""
    if frame.index is None or size[2] is None or frame.index < size[2]:
        return None
    from stmga.tracklets.video import frame_count

    count = frame_count(frame.file)
    return count if count is not None and frame.index >= count else None


def sizes_of(frames: Iterable[Frame], max_pixels: int) -> dict[Path, Size | str]:
    """Size of each file of `frames`, or what is wrong with it; threads hide the latency of disks."""
    files = {frame.file: frame.index is not None for frame in frames}
    jobs = list(files.items())
    if not jobs:
        return {}
    read = lambda chunk: [_size(file, video, max_pixels) for file, video in chunk]  # noqa: E731
    chunks = [jobs[i : i + CHUNK] for i in range(0, len(jobs), CHUNK)]
    with ThreadPoolExecutor(max_workers=min(16, len(chunks))) as pool:
        sizes = [size for chunk in pool.map(read, chunks) for size in chunk]
    return dict(zip(files, sizes, strict=True))


def _size(file: Path, video: bool, max_pixels: int) -> Size | str:
    try:
        if video:
            from stmga.tracklets.video import video_size

            return video_size(file, max_pixels)
        return (*image_size(file, max_pixels), None)
    except FileNotFoundError:
        return f"{file} does not exist"
    except IsADirectoryError:
        return f"{file} is a folder, not {'a video' if video else 'an image'}"
    except ImportError:
        raise  # PyAV is not installed: no fault of the file
    except Exception as error:  # Pillow's plugins raise whatever their format makes them raise
        with suppress(OSError, ValueError):  # no file of that name can be asked for its size
            found = file.stat()
            if stat.S_ISREG(found.st_mode) and found.st_size == 0:
                return f"{file} is empty (0 bytes)"
        return f"{file} cannot be opened as {'a video' if video else 'an image'}: {error}"
