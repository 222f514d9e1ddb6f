"""The clips of tracklets as the embedder takes them: which frames, read and resized, by worker processes or none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from stmga.embedding.jpeg import Encoded, encoded_clip
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.transforms import ClipTransform

Sampling = Literal["all", "evenly"]
Decode = Literal["host", "device"]
Transform = Callable[[Any], Tensor]
Batch = Tensor | list[Encoded]  # neighbours (k t 3 h w) that are alike in size and type, or k that are still encoded


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


class Clips(Dataset[tuple[int, "Tensor | Encoded | str"]]):
    """Every clip of every tracklet: (number of the tracklet, its pixels (t, 3, h, w) or what is wrong with them).

    Pixels are uint8 where the transform is still to come, else float32; or encoded, to be decoded where it computes.
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
        plan = [clip_indices(len(tracklet), length, sampling) for tracklet in tracklets]
        self.counts = [len(clips) for clips in plan]
        self.clips = [(owner, indices) for owner, clips in enumerate(plan) for indices in clips]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, place: int) -> tuple[int, Tensor | Encoded | str]:
        owner, indices = self.clips[place]
        tracklet = self.tracklets[owner]
        if self.decode == "device":
            assert isinstance(self.transform, ClipTransform)  # an exported file computes on the CPU
            if encoded := encoded_clip(tracklet, indices, _most_pixels(self.transform)):
                return owner, encoded
        distinct = list(dict.fromkeys(indices))  # a looped frame is read and resized once
        # Faults travel as text: an exception out of a worker process arrives wrapped in that process's traceback.
        try:
            frames = tracklet.load(distinct)
            clip = torch.stack(frames) if self._travels(frames) else self.transform(frames)
        except TrackletError as error:
            return owner, str(error)
        except (ValueError, TypeError) as error:  # of the transform, which does not know whose pixels these are
            return owner, f'tracklet "{tracklet.id}": {error}'
        return owner, clip.cpu()[[distinct.index(i) for i in indices]]

    def _travels(self, frames: list[Tensor]) -> bool:
        """Whether frames leave the reader as they are, to be transformed with others where the network computes.

        That is all of one size, and no more bytes than what the transform would make of them.
        """
        if not isinstance(self.transform, ClipTransform):
            return False
        first = frames[0]
        same = all(f.dtype == torch.uint8 and f.shape == first.shape for f in frames)
        return same and first.shape[-2] * first.shape[-1] <= _most_pixels(self.transform)


def _most_pixels(transform: ClipTransform) -> int:
    """Of a frame that travels as uint8: no more bytes than the transform's float32 would be."""
    return 4 * transform.size[0] * transform.size[1]


def collate(samples: list[tuple[int, Tensor | Encoded | str]]) -> tuple[int, list[int], list[Batch], dict[int, str]]:
    """-> clips asked for, owners of the readable ones, their pixels, faults by owner."""
    good = [(owner, clip) for owner, clip in samples if not isinstance(clip, str)]
    faults = {owner: fault for owner, fault in reversed(samples) if isinstance(fault, str)}
    pixels: list[Any] = [clip for _, clip in good]
    alike = groupby(pixels, key=lambda clip: isinstance(clip, Tensor) and (clip.shape, clip.dtype))
    clips: list[Any] = [torch.stack(list(group)) if stacks else list(group) for stacks, group in alike]
    return len(samples), [owner for owner, _ in good], clips, faults


def on_device(tracklet: Tracklet) -> bool:
    """Whether its pixels are on an accelerator, whose memory a worker process cannot use."""
    frames = tracklet.frames if isinstance(tracklet.frames, tuple) else (tracklet.frames,)
    return any(isinstance(frame, Tensor) and frame.device.type != "cpu" for frame in frames)
