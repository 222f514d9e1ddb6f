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
from stmga.tracklets.split import evenly_spaced
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.transforms import ClipTransform

Sampling = Literal["all", "evenly"]
Decode = Literal["host", "device"]
Transform = Callable[[Any], Tensor]


def clip_indices(frames: int, length: int, sampling: Sampling = "all") -> list[list[int]]:
    """Which frames make up the clips of a tracklet; too short ones, and the end of the last clip, loop to the start.

    >>> clip_indices(5, 4)
    [[0, 1, 2, 3], [4, 0, 1, 2]]
    >>> clip_indices(12, 4, "evenly")
    [[1, 4, 7, 10]]
    """
    if sampling == "evenly" and frames > length:
        return [evenly_spaced(frames, length)]
    looped = [i % frames for i in range(math.ceil(frames / length) * length)]
    return [looped[start : start + length] for start in range(0, len(looped), length)]


class ClipSample(NamedTuple):
    """A clip as the reader leaves it: pixels, JPEG files, or what is wrong with it."""

    owner: int  # number of the tracklet
    clip: Tensor | Encoded | None  # (t 3 h w), or files that the device decodes; None where there is a fault
    ready: bool = False  # whether the transform is done
    fault: str = ""


class ClipGroup(NamedTuple):
    """Neighbouring clips that are alike: (k t 3 h w) of one size and type, or k that are still JPEG files."""

    clips: Tensor | list[Encoded]
    ready: bool


class ClipBatch(NamedTuple):
    """A batch of clips as the reader leaves it."""

    size: int  # clips asked for
    owners: list[int]  # of the readable ones, in order
    groups: list[ClipGroup]  # the readable ones, in order
    faults: dict[int, str]  # by owner


class Clips(Dataset[ClipSample]):
    """Every clip of every tracklet.

    A frame is resized in one of two places, with the same transform and the same bits. If all frames of a clip are
    uint8 of one size, and take no more bytes than the finished clip, the device of the network transforms them in
    batches. Otherwise, or if the transform is not a :class:`stmga.ClipTransform`, the reader does. With ``decode =
    "device"`` plain JPEG files are both decoded and resized on the device.
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
        # Of a frame that the device transforms: no more bytes as uint8 than the float32 that the transform makes.
        self.most_pixels = 4 * transform.size[0] * transform.size[1] if isinstance(transform, ClipTransform) else 0
        plan = [clip_indices(len(tracklet), length, sampling) for tracklet in tracklets]
        self.counts = [len(clips) for clips in plan]
        self.clips = [(owner, indices) for owner, clips in enumerate(plan) for indices in clips]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> ClipSample:
        owner, indices = self.clips[number]
        tracklet = self.tracklets[owner]
        if self.decode == "device" and (encoded := encoded_clip(tracklet, indices, self.most_pixels)):
            return ClipSample(owner, encoded)
        distinct = list(dict.fromkeys(indices))  # a looped frame is read and resized once
        # Faults travel as text: an exception out of a worker process arrives wrapped in that process's traceback.
        try:
            frames = tracklet.load(distinct)
            ready = not self._is_left_to_the_device(frames)
            clip = self.transform(frames) if ready else torch.stack(frames)
        except TrackletError as error:
            return ClipSample(owner, None, fault=str(error))
        except (ValueError, TypeError) as error:  # of the transform, which does not know whose pixels these are
            return ClipSample(owner, None, fault=f'tracklet "{tracklet.id}": {error}')
        return ClipSample(owner, clip.cpu()[[distinct.index(i) for i in indices]], ready)

    def _is_left_to_the_device(self, frames: list[Tensor]) -> bool:
        first = frames[0]
        same = all(f.dtype == torch.uint8 and f.shape == first.shape for f in frames)
        return same and first.shape[-2] * first.shape[-1] <= self.most_pixels


def collate(samples: list[ClipSample]) -> ClipBatch:
    """Readable clips in groups that are alike, and the faults of the others."""
    good = [sample for sample in samples if not sample.fault]
    groups = []
    for (ready, shape, _), group in groupby(good, key=_likeness):
        clips: list[Any] = [sample.clip for sample in group]
        groups.append(ClipGroup(torch.stack(clips) if shape else clips, ready))
    faults = {sample.owner: sample.fault for sample in reversed(samples) if sample.fault}
    return ClipBatch(len(samples), [sample.owner for sample in good], groups, faults)


def _likeness(sample: ClipSample) -> tuple[bool, Any, Any]:
    clip = sample.clip
    return (sample.ready, clip.shape, clip.dtype) if isinstance(clip, Tensor) else (False, None, None)


def on_device(tracklet: Tracklet) -> bool:
    """Whether its pixels are on an accelerator, whose memory a worker process cannot use."""
    frames = tracklet.frames if isinstance(tracklet.frames, tuple) else (tracklet.frames,)
    return any(isinstance(frame, Tensor) and frame.device.type != "cpu" for frame in frames)
