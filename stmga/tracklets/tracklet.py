"""Tracklets: consecutive frames of one person from one camera, as one record."""

from __future__ import annotations

import logging
import numbers
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stmga.tracklets.images import crop, outside, read_image
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.pixels import as_clip, checked_range, to_pixels

if TYPE_CHECKING:
    from PIL import Image
    from typing_extensions import Self

logger = logging.getLogger(__name__)

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


@dataclass(frozen=True, slots=True)  # slots: sets have millions of them
class Frame:
    """One frame on disk: an image, or frame `index` (from 0) of a video, either whole or cropped to `box`.

    `box` is (x, y, width, height) in pixels from the top left corner. `span` is (offset, length) in bytes, for an image
    that is a part of `file`: a shard of a pack (`stmga.data.packing`).
    """

    file: Path
    box: tuple[float, float, float, float] | None = None
    index: int | None = None
    span: tuple[int, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """The frame as plain JSON values; `box`, `index` and `span` only if set."""
        row: dict[str, Any] = {"file": str(self.file)}
        if self.box is not None:
            row["box"] = list(self.box)
        if self.index is not None:
            row["index"] = self.index
        if self.span is not None:
            row["span"] = list(self.span)
        return row


@dataclass(frozen=True, eq=False)  # compared by identity: frames may be arrays, which do not compare to one truth value
class Tracklet:
    """One person in one camera, frame after frame.

    Args:
        id: unique within a query or gallery set.
        frames: a list of files (`Frame`, or plain paths), or pixels: an array `(t, h, w, 3)`, a tensor `(t, 3, h, w)`,
            or a list of PIL images, `(h, w, 3)` arrays or `(3, h, w)` tensors, sizes free. Values are uint8, or floats
            in 0..1, in the order RGB: OpenCV's frames are BGR, so pass `frame[..., ::-1]`. A single file, image,
            `(h, w, 3)` array or `(3, h, w)` tensor is a tracklet of one frame.
        person, camera: labels, where known; one of each for the whole tracklet.
        time: when it begins, in seconds, if known.
        extra: any other data to keep with it, as plain JSON values.
        max_pixels: larger pictures are refused before they are decoded.

    The constructor checks nothing: `check_tracklets` checks a whole input and reports all faults together.

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
    max_pixels: int = field(default=MAX_PIXELS, repr=False)
    _checked: bool = field(default=False, init=False, repr=False)
    _clipping_said: bool = field(default=False, init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("person", "camera"):
            label = getattr(self, name)
            if isinstance(label, numbers.Integral) and not isinstance(label, bool):
                object.__setattr__(self, name, int(label))  # a numpy integer is not valid JSON value
        single = isinstance(self.frames, (str, Path, Frame))
        object.__setattr__(self, "frames", (self.frames,) if single else as_clip(self.frames))
        if isinstance(self.frames, (list, tuple)):
            frames = tuple(Frame(Path(f).absolute()) if isinstance(f, (str, Path)) else f for f in self.frames)
            object.__setattr__(self, "frames", frames)

    @property
    def checked(self) -> bool:
        """Whether its files and boxes have been checked, so that they are not checked again."""
        return self._checked

    def as_checked(self) -> Self:
        """A copy with the same frames, marked as checked; itself if it is already.

        >>> t = Tracklet("a", ["1.jpg"])
        >>> t.checked, t.as_checked().checked
        (False, True)
        """
        if self._checked:
            return self
        checked = copy(self)
        object.__setattr__(checked, "_checked", True)
        return checked

    def with_max_pixels(self, max_pixels: int) -> Self:
        """A copy with the same frames and another limit; itself if it has that limit already."""
        if self.max_pixels == max_pixels:
            return self
        limited = copy(self)
        object.__setattr__(limited, "max_pixels", max_pixels)
        return limited

    def __len__(self) -> int:
        return len(self.frames)

    def load(self, indices: Iterable[int] | None = None) -> list[torch.Tensor]:
        """Pixels of the frames `indices` (default: all), in that order: `(3, h, w)` uint8; float frames stay float.

        A frame that occurs twice is read once, and both are the same tensor. A video is decoded in one pass. Raises
        `TrackletError`, with tracklet and file, for a frame that cannot be read or has values out of range.
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
        for file, indices_of in videos.items():
            pixels.update(self._video_pixels(file, indices_of))
        return [pixels[i] for i in chosen]

    def labels(self) -> dict[str, Any]:
        """The record without its frames, as plain values: what a manifest has beside `frames`."""
        row: dict[str, Any] = {"tracklet": self.id, "person": self.person, "camera": self.camera}
        if self.time is not None:
            row["time"] = self.time
        return row | dict(self.extra)

    def row(self) -> dict[str, Any]:
        """`labels()`, and what the frames on disk add: `cover`, and for frames of a video when they are in it.

        `cover` is the middle frame (see `load_cover`). `video` is the path of the video, `start` and `end` are its
        first and last frame here, from 0; labels of these names are kept as they are.
        """
        middle = self.frames[len(self) // 2] if len(self) else None
        if not isinstance(middle, Frame):
            return self.labels()
        row = self.labels()
        row |= {key: value for key, value in self._when().items() if key not in row}
        return row | {"cover": middle.to_dict() | {"file": str(middle.file.absolute())}}

    def _when(self) -> dict[str, Any]:
        """Video, first and last frame, if all frames are of one video."""
        first = self.frames[0]
        if first.index is None or any(frame.index is None or frame.file != first.file for frame in self.frames):
            return {}
        indices = [frame.index for frame in self.frames]
        return {"video": str(first.file.absolute()), "start": min(indices), "end": max(indices)}

    def _pixels(self, frame: Any, i: int) -> torch.Tensor:
        if not isinstance(frame, Frame):
            try:
                return checked_range(to_pixels(frame, self.max_pixels))
            except ValueError as error:
                raise TrackletError(f'tracklet "{self.id}": frame {i}: {error}') from error
        try:
            return self._crop(read_image(frame.file, frame.span, self.max_pixels), i)
        except Exception as error:  # Pillow's plugins raise whatever their format makes them raise
            raise TrackletError(f'tracklet "{self.id}": cannot read {frame.file}: {error}') from error

    def _video_pixels(self, file: Path, indices: list[int]) -> dict[int, torch.Tensor]:
        from stmga.tracklets.video import decode

        wanted: dict[int, list[int]] = {}
        for i in indices:
            wanted.setdefault(self.frames[i].index, []).append(i)
        try:
            pictures = decode(file, wanted, self.max_pixels)
            return {i: self._crop(picture, i) for index, picture in pictures for i in wanted[index]}
        except ValueError as error:
            raise TrackletError(f'tracklet "{self.id}": {error}') from error

    def _crop(self, picture: np.ndarray, i: int) -> torch.Tensor:
        box = self.frames[i].box
        pixels = crop(picture, box)
        # The boxes of a checked tracklet have been counted with its whole input.
        if box is not None and not (self._checked or self._clipping_said) and outside(box, *picture.shape[1::-1]):
            logger.warning('tracklet "%s": boxes reach over the edge and are clipped; first: frame %d', self.id, i)
            object.__setattr__(self, "_clipping_said", True)
        return pixels


def load_cover(row: Mapping[str, Any], *, max_pixels: int = MAX_PIXELS) -> Image.Image | None:
    """The picture of a row's middle frame, from disk; None where the row has none (in-memory tracklets).

    `row` is `Tracklet.row()`, or an item of saved embeddings. `TrackletError` if the file is missing, cannot be read,
    or has more than `max_pixels` pixels.
    """
    from PIL import Image

    cover = row.get("cover")
    if cover is None:
        return None
    box, span = (tuple(cover[key]) if key in cover else None for key in ("box", "span"))
    frame = Frame(Path(cover["file"]), box, cover.get("index"), span)
    tracklet = Tracklet(
        str(row.get("tracklet")), (frame,), max_pixels=max_pixels
    ).as_checked()  # the warning was given when it was read
    return Image.fromarray(tracklet.load()[0].permute(1, 2, 0).numpy())
