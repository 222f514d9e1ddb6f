"""Frames that travel as JPEG bytes and are decoded where the network computes: on a GPU, all of a batch at once."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stmga.images import decoded, is_jpeg, read_bytes
from stmga.tracklets import Frame, Tracklet
from stmga.transforms import ClipTransform

logger = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """The frames of a clip as they are on disk."""

    files: list[bytes]  # of the distinct frames
    indices: list[int]  # which of them, in the order of the clip


def encoded_clip(tracklet: Tracklet, indices: list[int]) -> Encoded | None:
    """The files of these frames; None if one is something else than a whole JPEG file that can be read."""
    distinct = list(dict.fromkeys(indices))
    files = []
    for frame in (tracklet.frames[i] for i in distinct):
        if not isinstance(frame, Frame) or frame.index is not None or frame.box is not None:
            return None
        try:
            files.append(read_bytes(frame.file, frame.span))
        except (OSError, ValueError):
            return None  # the host, which is asked next, says what is wrong
    return Encoded(files, [distinct.index(i) for i in indices]) if all(map(is_jpeg, files)) else None


def decode(clips: Sequence[Encoded], transform: ClipTransform, device: torch.device) -> tuple[Tensor, dict[int, str]]:
    """k clips -> (k, t, 3, h, w) on ``device`` as the network takes them, and by the number of a clip what is wrong.

    nvJPEG decodes them through torchvision. If it refuses one (CMYK, cut short), or is not there, the host decodes all:
    it says what is wrong, and one black pixel stands for a frame that cannot be read.
    """
    files = [file for clip in clips for file in clip.files]
    faults: dict[int, str] = {}
    try:
        frames = _decoded_there(files, device)
    except (ImportError, RuntimeError) as error:
        logger.info("a batch is decoded on the host: %s", error)
        frames = []
        for k, file in ((k, file) for k, clip in enumerate(clips) for file in clip.files):
            try:
                pixels = decoded(file)
            except Exception as fault:  # Pillow's plugins raise whatever their format makes them raise
                faults.setdefault(k, str(fault))
                pixels = np.zeros((1, 1, 3), np.uint8)
            frames.append(torch.tensor(pixels).movedim(-1, 0).to(device))
    starts = accumulate((len(clip.files) for clip in clips), initial=0)
    places = [[start + i for i in clip.indices] for start, clip in zip(starts, clips, strict=False)]
    return transform(frames)[torch.tensor(places)], faults


def _decoded_there(files: list[bytes], device: torch.device) -> list[Tensor]:
    """JPEG files -> (3, h, w) uint8 each, in one call."""
    from torchvision.io import ImageReadMode, decode_jpeg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        data = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
        return list(decode_jpeg(data, mode=ImageReadMode.RGB, device=device))
