"""Decoded training frames, kept in memory after the first time each is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor


class FrameStore:
    """``store([(tracklet, frame), ...])`` -> (n, 3, h, w) uint8, each frame read and resized once.

    A frame of 256 x 128 pixels takes 98 KB. Memory is used as frames come in, so a short run reads only what it needs.

    Args:
        lengths: number of frames of each tracklet.
        read: (tracklet, frames) -> their pixels (n, 3, h, w) uint8; called from several threads.
        size: height and width of a frame in pixels.
        device: where the frames are kept and where batches are made.
        threads: how many frames are read at the same time; 0 reads in the calling thread.

    Raises:
        ValueError: the frames need more memory than this machine or this GPU has.

    >>> store = FrameStore([2, 3], lambda tracklet, frames: torch.zeros(len(frames), 3, 4, 2).byte(), (4, 2))
    >>> store([(1, 2), (0, 0)]).shape, store.read_frames
    (torch.Size([2, 3, 4, 2]), 2)
    """

    def __init__(
        self,
        lengths: Sequence[int],
        read: Callable[[int, list[int]], Tensor],
        size: tuple[int, int],
        *,
        device: torch.device | str = "cpu",
        threads: int = 0,
    ) -> None:
        self.first = [0, *accumulate(lengths)]
        self.read, self.threads = read, threads
        self.device = torch.device(device)
        needed, free = self.first[-1] * 3 * size[0] * size[1], _memory(self.device)
        if needed > free:
            raise ValueError(
                f"{self.first[-1]:,} frames of {size[0]} x {size[1]} need {needed / 1e9:.1f} GB and {self.device} has "
                f"{free / 1e9:.1f} GB: train without keep_frames (--keep-frames)"
            )
        self.frames = torch.empty((self.first[-1], 3, *size), dtype=torch.uint8, device=self.device)
        self.known = np.zeros(self.first[-1], dtype=bool)

    @property
    def read_frames(self) -> int:
        """How many frames have been read so far."""
        return int(self.known.sum())

    def __call__(self, wanted: Sequence[tuple[int, int]]) -> Tensor:
        rows = np.array([self.first[tracklet] + frame for tracklet, frame in wanted])
        missing: dict[int, list[int]] = {}
        for (tracklet, frame), row in dict(zip(wanted, rows.tolist(), strict=True)).items():
            if not self.known[row]:
                missing.setdefault(tracklet, []).append(frame)
        if missing:
            self._fill(missing)
        return self.frames[torch.from_numpy(rows).to(self.device)]

    def _fill(self, missing: dict[int, list[int]]) -> None:
        if self.threads > 1 and len(missing) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                pixels = list(pool.map(self.read, missing.keys(), missing.values()))
        else:
            pixels = [self.read(tracklet, frames) for tracklet, frames in missing.items()]
        for (tracklet, frames), found in zip(missing.items(), pixels, strict=True):
            rows = [self.first[tracklet] + frame for frame in frames]
            self.frames[rows] = found.to(self.device)
            self.known[rows] = True


def _memory(device: torch.device) -> int:
    """Total memory of the device in bytes."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 2**63 - 1  # unknown on this system
