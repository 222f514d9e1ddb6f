"""The clips of tracklets as the embedder takes them: which frames, read and resized, by worker processes or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from stmga.embedding.jpeg import Encoded, decode, encoded_frames
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
    """A clip as the reader leaves it: its frames that no earlier clip of the tracklet has, or what is wrong with it."""

    owner: int  # number of the tracklet
    indices: list[int]  # the frames of the clip, by their number in the tracklet
    new: list[int]  # those that are read for it, each once
    frames: Tensor | Encoded | None  # (n 3 h w), or files that the device decodes; None where there is a fault
    ready: bool = False  # whether the transform is done
    fault: str = ""


class FrameGroup(NamedTuple):
    """The frames of neighbouring clips that are alike: (n 3 h w) of one size and type, or JPEG files."""

    frames: Tensor | list[Encoded]
    ready: bool
    clips: int  # how many


class ClipRows(NamedTuple):
    """A readable clip of a batch: its frames, and which of them are among the frames of the batch."""

    owner: int
    indices: list[int]
    new: list[int]


class ClipBatch(NamedTuple):
    """A batch of clips as the reader leaves it."""

    size: int  # clips asked for
    clips: list[ClipRows]  # the readable ones, in order
    groups: list[FrameGroup]  # the frames of their `new`, in order
    faults: dict[int, str]  # by owner


class Clips(Dataset[ClipSample]):
    """Every clip of every tracklet, and every frame of a tracklet in one of them: the first that has it.

    A frame is resized in one of two places, with the same transform and the same bits. If all new frames of a clip are
    uint8 of one size, and take no more bytes than the finished ones, the device of the network transforms them in
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
        new = [i for i in dict.fromkeys(indices) if i >= indices[0]]  # the others are looped to, in an earlier clip
        if self.decode == "device" and (encoded := encoded_frames(tracklet, new, self.most_pixels)):
            return ClipSample(owner, indices, new, encoded)
        # Faults travel as text: an exception out of a worker process arrives wrapped in that process's traceback.
        try:
            frames = tracklet.load(new)
            ready = not self._is_left_to_the_device(frames)
            pixels = self.transform(frames) if ready else torch.stack(frames)
        except TrackletError as error:
            return ClipSample(owner, indices, new, None, fault=str(error))
        except (ValueError, TypeError) as error:  # of the transform, which does not know whose pixels these are
            return ClipSample(owner, indices, new, None, fault=f'tracklet "{tracklet.id}": {error}')
        return ClipSample(owner, indices, new, pixels.cpu(), ready)

    def _is_left_to_the_device(self, frames: list[Tensor]) -> bool:
        first = frames[0]
        same = all(f.dtype == torch.uint8 and f.shape == first.shape for f in frames)
        return same and first.shape[-2] * first.shape[-1] <= self.most_pixels


def collate(samples: list[ClipSample]) -> ClipBatch:
    """Readable clips, their frames in groups that are alike, and the faults of the others."""
    good = [sample for sample in samples if not sample.fault]
    groups = []
    for (ready, size, _), group in groupby(good, key=_likeness):
        frames: list[Any] = [sample.frames for sample in group]
        groups.append(FrameGroup(torch.cat(frames) if size else frames, ready, len(frames)))
    faults = {sample.owner: sample.fault for sample in reversed(samples) if sample.fault}
    clips = [ClipRows(sample.owner, sample.indices, sample.new) for sample in good]
    return ClipBatch(len(samples), clips, groups, faults)


def _likeness(sample: ClipSample) -> tuple[bool, Any, Any]:
    frames = sample.frames
    return (sample.ready, frames.shape[1:], frames.dtype) if isinstance(frames, Tensor) else (False, None, None)


def on_the_device(batch: ClipBatch, clips: Clips, device: torch.device) -> tuple[list[Tensor], dict[int, str]]:
    """What the reader left -> some (k 3 h w) as the network takes them, on its device; and faults by owner."""
    finished: list[Tensor] = []
    faults: dict[int, str] = {}
    done = 0  # clips
    for frames, ready, count in batch.groups:
        if isinstance(frames, Tensor):
            pixels = frames.to(device, non_blocking=True)
            finished.append(pixels if ready else clips.transform(pixels))
        else:
            assert isinstance(clips.transform, ClipTransform)  # others leave nothing to the device
            pixels, broken = decode(frames, clips.transform, device)
            for k, why in broken.items():
                owner = batch.clips[done + k].owner
                faults.setdefault(owner, f'tracklet "{clips.tracklets[owner].id}": {why}')
            finished.append(pixels)
        done += count
    return finished, faults


def on_device(tracklet: Tracklet) -> bool:
    """Whether its pixels are on an accelerator, whose memory a worker process cannot use."""
    frames = tracklet.frames if isinstance(tracklet.frames, tuple) else (tracklet.frames,)
    return any(isinstance(frame, Tensor) and frame.device.type != "cpu" for frame in frames)
