"""The clips of tracklets as the embedder takes them: which frames, read and resized, by worker processes or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from stmga.embedding.jpeg import Encoded, encoded_clip
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.transforms import ClipTransform

Sampling = Literal["all", "evenly"]
Decode = Literal["host", "device"]
Transform = Callable[[Any], Tensor]


class ClipSample(NamedTuple):
    """One clip on its way from the reader to the network: its pixels, or what is wrong with them.

    ``pixels`` are (t, 3, h, w); or files that are still encoded; or None, and then ``fault`` says why. ``owner`` is the
    number of the tracklet. ``resized`` says whether the network's transform is done.
    """

    owner: int
    pixels: Tensor | Encoded | None
    resized: bool = True
    fault: str = ""


class ClipGroup(NamedTuple):
    """k neighbours of a batch: (k, t, 3, h, w) of one size and type, or k clips whose files are still encoded."""

    pixels: Tensor | list[Encoded]
    resized: bool


class ClipBatch(NamedTuple):
    """A batch: how many clips it was to have, the owners of those that could be read, these, and faults by owner."""

    size: int
    owners: list[int]
    groups: list[ClipGroup]
    faults: dict[int, str]


def clip_indices(frames: int, length: int, sampling: Sampling = "all") -> list[list[int]]:
    """Which frames make up the clips of a tracklet; too short ones, and the end of the last clip, loop to the start.

    >>> clip_indices(5, 4)
    [[0, 1, 2, 3], [4, 0, 1, 2]]
    >>> clip_indices(12, 4, "evenly")
    [[1, 4, 7, 10]]
    """
    if sampling == "evenly" and frames > length:
        return [[(2 * i + 1) * frames // (2 * length) for i in range(length)]]  # the middles of `length` equal pieces
    looped = [i % frames for i in range(math.ceil(frames / length) * length)]
    return [looped[start : start + length] for start in range(0, len(looped), length)]


class Clips(Dataset[ClipSample]):
    """Every clip of every tracklet, as a :class:`ClipSample`.

    Where is a frame resized? By the network's ``transform``, in one of two places. Small uint8 frames of one size, and
    JPEG files with ``decode="device"``, travel as they are: :class:`stmga.TrackletEmbedder` resizes a batch of them on
    the device (``resized`` is False). All other frames are resized here, where they are read, perhaps in a worker
    process (``resized`` is True). A transform that is not a :class:`stmga.ClipTransform` always runs here.
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        transform: Transform,
        length: int,
        sampling: Sampling,
        decode: Decode = "host",
    ) -> None:
        self.tracklets = tracklets
        self.decode = decode
        self.transform = transform
        # Pixels of a frame that may travel as it is: no more bytes in uint8 than the transform's float32 would have.
        self.most = 4 * transform.size[0] * transform.size[1] if isinstance(transform, ClipTransform) else 0
        plan = [clip_indices(len(tracklet), length, sampling) for tracklet in tracklets]
        self.counts = [len(clips) for clips in plan]
        self.clips = [(owner, indices) for owner, clips in enumerate(plan) for indices in clips]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> ClipSample:
        owner, indices = self.clips[number]
        tracklet = self.tracklets[owner]
        if self.decode == "device" and (encoded := encoded_clip(tracklet, indices, self.most)):
            return ClipSample(owner, encoded, resized=False)
        distinct = list(dict.fromkeys(indices))  # a looped frame is read and resized once
        # Faults travel as text: an exception out of a worker process arrives wrapped in that process's traceback.
        try:
            frames = tracklet.load(distinct)
            resized = not self._travels(frames)
            clip = self.transform(frames) if resized else torch.stack(frames)
        except TrackletError as error:
            return ClipSample(owner, None, fault=str(error))
        except (ValueError, TypeError) as error:  # of the transform, which does not know whose pixels these are
            return ClipSample(owner, None, fault=f'tracklet "{tracklet.id}": {error}')
        return ClipSample(owner, clip.cpu()[[distinct.index(i) for i in indices]], resized)

    def _travels(self, frames: list[Tensor]) -> bool:
        """Whether these frames leave the reader as they are: small enough, of one size, and uint8."""
        first = frames[0]
        same = all(f.dtype == torch.uint8 and f.shape == first.shape for f in frames)
        return same and first.shape[-2] * first.shape[-1] <= self.most


def collate(samples: list[ClipSample]) -> ClipBatch:
    """A batch whose neighbours of one size and type are one tensor."""
    good = [sample for sample in samples if sample.pixels is not None]
    faults = {sample.owner: sample.fault for sample in reversed(samples) if sample.pixels is None}
    groups = []
    for (_, resized), group in groupby(good, key=_kind):
        pixels: list[Any] = [sample.pixels for sample in group]
        groups.append(ClipGroup(torch.stack(pixels) if isinstance(pixels[0], Tensor) else pixels, resized))
    return ClipBatch(len(samples), [sample.owner for sample in good], groups, faults)


def _kind(sample: ClipSample) -> tuple[object, bool]:
    pixels = sample.pixels
    return (pixels.shape, pixels.dtype) if isinstance(pixels, Tensor) else None, sample.resized


def on_device(tracklet: Tracklet) -> bool:
    """Whether its pixels are on an accelerator, whose memory a worker process cannot use."""
    frames = tracklet.frames if isinstance(tracklet.frames, tuple) else (tracklet.frames,)
    return any(isinstance(frame, Tensor) and frame.device.type != "cpu" for frame in frames)
