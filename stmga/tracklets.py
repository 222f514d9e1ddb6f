"""The tracklet: one person followed by one camera for a while, as one record (read by `stmga.readers`, `stmga.mot`)."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from PIL import Image

SHOWN = 20  # faults that a TrackletError's message lists; the rest are counted and kept in `.faults`


class TrackletError(ValueError):
    """Everything that is wrong with one input, in one error: `.faults` has all, the message 20 and the total.

    >>> str(TrackletError(['tracklet "a": has no frames']))
    'tracklet "a": has no frames'
    """

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults = [faults] if isinstance(faults, str) else list(faults)
        super().__init__(self._message())

    def _message(self) -> str:
        if len(self.faults) == 1:
            return self.faults[0]
        lines = [f"{len(self.faults):,} faults in the tracklets:", *(f"  {fault}" for fault in self.faults[:SHOWN])]
        if len(self.faults) > SHOWN:
            lines.append(f"  ... and {len(self.faults) - SHOWN:,} more")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[type[TrackletError], tuple[list[str]]]:
        return TrackletError, (self.faults,)  # so that worker processes can send it whole


@dataclass(frozen=True)
class Frame:
    """One frame on disk: an image, or frame `index` (from 0) of a video; the whole of it, or a `box` in it.

    `box` is (x, y, width, height) in pixels from the top left corner.
    """

    file: Path
    box: tuple[float, float, float, float] | None = None
    index: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The frame as plain JSON values; `box` and `index` only where there is one."""
        row: dict[str, Any] = {"file": str(self.file)}
        if self.box is not None:
            row["box"] = list(self.box)
        if self.index is not None:
            row["index"] = self.index
        return row


@dataclass(frozen=True, eq=False)  # compared by identity: frames may be arrays, which do not compare to one truth value
class Tracklet:
    """One person in one camera, frame after frame.

    Args:
        id: unique within a query or gallery set.
        frames: files (`Frame`, or plain paths), or pixels: a uint8 array `(t, h, w, 3)`, a tensor `(t, 3, h, w)` of
            uint8 or of floats in 0..1, or a list of PIL images, `(h, w, 3)` arrays or `(3, h, w)` tensors, sizes free.
        person, camera: labels, where known; one of each for the whole tracklet.
        time: when it begins, in seconds, where known.
        extra: whatever else is to be kept with it; plain JSON values.

    The constructor checks nothing: `check_tracklets` looks at a whole input and reports all faults together.

    >>> t = Tracklet("a", np.zeros((5, 128, 64, 3), np.uint8), person=7, camera="door")
    >>> len(t), t.load([0])[0].shape, t.row()
    (5, torch.Size([3, 128, 64]), {'tracklet': 'a', 'person': 7, 'camera': 'door'})
    """

    id: str
    frames: Any = field(repr=False)
    person: str | int | None = None
    camera: str | int | None = None
    time: float | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)
    _checked: bool = field(default=False, init=False, repr=False)  # set by check_tracklets: files are not opened twice

    def __post_init__(self) -> None:
        for name in ("person", "camera"):
            label = getattr(self, name)
            if isinstance(label, numbers.Integral) and not isinstance(label, bool):
                object.__setattr__(self, name, int(label))  # a numpy integer is no JSON value
        if isinstance(self.frames, (list, tuple)):
            frames = tuple(Frame(Path(f).absolute()) if isinstance(f, (str, Path)) else f for f in self.frames)
            object.__setattr__(self, "frames", frames)

    def __len__(self) -> int:
        return len(self.frames)

    def load(self, indices: Iterable[int] | None = None) -> list[torch.Tensor]:
        """Pixels of the frames `indices` (default: all), in that order: `(3, h, w)` uint8; float frames stay float.

        A frame asked for twice is read once and is the same tensor twice; a video is decoded in one pass. Raises
        `TrackletError`, naming tracklet and file, for a frame that cannot be read whole or whose values are no picture.
        """
        chosen = list(range(len(self)) if indices is None else indices)
        pixels: dict[int, torch.Tensor] = {}
        videos: dict[Path, list[int]] = {}
        for i in dict.fromkeys(chosen):
            frame = self.frames[i]
            if isinstance(frame, Frame) and frame.index is not None:
                videos.setdefault(frame.file, []).append(i)
            else:
                pixels[i] = self._pixels(frame, i)
        for file, places in videos.items():
            pixels.update(self._video_pixels(file, places))
        return [pixels[i] for i in chosen]

    def row(self) -> dict[str, Any]:
        """The record without its frames, as plain values; `cover` is the middle frame on disk (see `load_cover`)."""
        row: dict[str, Any] = {"tracklet": self.id, "person": self.person, "camera": self.camera}
        if self.time is not None:
            row["time"] = self.time
        row.update(self.extra)
        middle = self.frames[len(self) // 2] if len(self) else None
        if isinstance(middle, Frame):
            row["cover"] = middle.to_dict() | {"file": str(middle.file.absolute())}
        return row

    def _pixels(self, frame: Any, i: int) -> torch.Tensor:
        if not isinstance(frame, Frame):
            return _checked_range(to_pixels(frame), f'tracklet "{self.id}": frame {i}')
        try:
            return crop(read_image(frame.file), frame.box)
        except Exception as error:  # Pillow's plugins raise whatever their format makes them raise
            raise TrackletError(f'tracklet "{self.id}": cannot read {frame.file}: {error}') from error

    def _video_pixels(self, file: Path, places: list[int]) -> dict[int, torch.Tensor]:
        from stmga.video import decode

        wanted: dict[int, list[int]] = {}
        for i in places:
            wanted.setdefault(self.frames[i].index, []).append(i)
        try:
            pictures = decode(file, wanted)
            return {i: crop(picture, self.frames[i].box) for index, picture in pictures for i in wanted[index]}
        except ValueError as error:
            raise TrackletError(f'tracklet "{self.id}": {error}') from error


def load_cover(row: Mapping[str, Any]) -> Image.Image | None:
    """The picture of a row's middle frame, from disk; None where the row has none (in-memory tracklets).

    `row` is `Tracklet.row()`, or an item of saved embeddings. `TrackletError` if the file has gone or cannot be read.
    """
    from PIL import Image

    cover = row.get("cover")
    if cover is None:
        return None
    box = tuple(cover["box"]) if "box" in cover else None
    tracklet = Tracklet(str(row.get("tracklet")), (Frame(Path(cover["file"]), box, cover.get("index")),))
    return Image.fromarray(tracklet.load()[0].permute(1, 2, 0).numpy())


def read_image(file: Path) -> np.ndarray:
    """An image file as RGB, `(h, w, 3)` uint8; EXIF orientation is ignored, as detectors and trackers do."""
    from PIL import Image

    with Image.open(file) as image:
        return _rgb(image)


def _rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey: Pillow would clip it at 255 instead of scaling it
        return np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., None], 3, axis=2)
    return np.asarray(image.convert("RGB"))  # grey repeated, alpha dropped


def to_pixels(frame: Any) -> torch.Tensor:
    """One frame in memory (PIL image, `(h, w, 3)` array, `(3, h, w)` tensor) as a tensor `(3, h, w)`."""
    if isinstance(frame, torch.Tensor):
        return frame.detach().cpu()
    pixels = frame if isinstance(frame, np.ndarray) else _rgb(frame)
    return torch.from_numpy(np.array(pixels.transpose(2, 0, 1), order="C"))  # a copy: the user's array may be read-only


def crop(picture: np.ndarray, box: tuple[float, float, float, float] | None) -> torch.Tensor:
    """The box of an `(h, w, 3)` picture, clipped to it and rounded to whole pixels (at least one), as `(3, h, w)`."""
    if box is not None:
        height, width = picture.shape[:2]
        if box[0] + box[2] <= 0 or box[1] + box[3] <= 0 or box[0] >= width or box[1] >= height:
            raise ValueError(f"box {box} is outside the frame, {width} x {height} pixels")
        (left, right), (top, bottom) = _span(box[0], box[2], width), _span(box[1], box[3], height)
        picture = picture[top:bottom, left:right]
    return torch.from_numpy(np.array(picture.transpose(2, 0, 1), order="C"))


def _span(start: float, length: float, limit: int) -> tuple[int, int]:
    first = min(max(round(start), 0), limit - 1)
    return first, min(max(round(start + length), first + 1), limit)


def _checked_range(pixels: torch.Tensor, place: str) -> torch.Tensor:
    if pixels.is_floating_point() and pixels.numel():
        low, high = (bound.item() for bound in torch.aminmax(pixels))
        if not (math.isfinite(low) and math.isfinite(high)):
            raise TrackletError(f"{place} has values that are NaN or infinite; expected floats in 0..1")
        if low < -0.5 or high > 1.5:  # resizing may overshoot a little; bytes and normalised pixels are far outside
            span = f"{low:.4g} to {high:.4g}"
            raise TrackletError(f"{place} has values from {span}; expected floats in 0..1, not normalised, or uint8")
    return pixels
