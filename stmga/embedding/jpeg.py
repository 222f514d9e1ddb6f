"""Frames that travel as JPEG bytes and are decoded where the network computes: on a GPU, all of a batch at once."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from stmga.tracklets.images import decoded, is_plain_jpeg, read_bytes
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.transforms import ClipTransform

logger = logging.getLogger(__name__)


class Encoded(NamedTuple):
    """Frames of a clip as they are on disk."""

    files: list[bytes]
    names: list[str]  # where each is from


def encoded_frames(tracklet: Tracklet, indices: list[int], most: int) -> Encoded | None:
    """The files of these frames, each of at most so many pixels; None if one should be decoded on the host.

    The host decodes boxes, anything but plain upright JPEG files, and files that cannot be read, to report why.
    """
    files, names = [], []
    for frame in (tracklet.frames[i] for i in indices):
        if not isinstance(frame, Frame) or frame.index is not None or frame.box is not None:
            return None
        try:
            data = read_bytes(frame.file, frame.span, most)
            if not is_plain_jpeg(data, most):
                return None
        except (OSError, ValueError, SyntaxError):  # the last is Pillow's, of headers
            return None
        files.append(data)
        names.append(str(frame.file))
    return Encoded(files, names)


def decode(clips: Sequence[Encoded], transform: ClipTransform, device: torch.device) -> tuple[Tensor, dict[int, str]]:
    """Frames of k clips -> (n, 3, h, w) on ``device`` as the network takes them, and faults by the number of the clip.

    nvJPEG decodes them through torchvision. If it refuses one, the host decodes all and reports what is wrong; a frame
    that cannot be read becomes one black pixel.
    """
    faults: dict[int, str] = {}
    try:
        frames = _decoded_there([file for clip in clips for file in clip.files], device)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        logger.info("a batch is decoded on the host: %s", error)
        frames = []
        for k, clip in enumerate(clips):
            for file, name in zip(clip.files, clip.names, strict=True):
                try:
                    pixels = decoded(file)
                except Exception as fault:  # Pillow's plugins raise whatever their format makes them raise
                    faults.setdefault(k, f"cannot read {name}: {fault}")
                    pixels = np.zeros((1, 1, 3), np.uint8)
                frames.append(torch.from_numpy(pixels.copy()).movedim(-1, 0).to(device))
    return transform(frames), faults


def require_decoder(device: torch.device) -> None:
    """Raise `ValueError` where no JPEG file can be decoded on this device."""
    from PIL import Image

    pixel = io.BytesIO()
    Image.new("RGB", (8, 8)).save(pixel, "JPEG")
    try:
        _decoded_there([pixel.getvalue()], device)
    except (ImportError, AttributeError, RuntimeError) as error:
        raise ValueError(f'decode="device" needs a torchvision that decodes JPEG files on {device}: {error}') from error


def _decoded_there(files: list[bytes], device: torch.device) -> list[Tensor]:
    """JPEG files -> (3, h, w) uint8 each, in one call."""
    from torchvision.io import ImageReadMode, decode_jpeg

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        data = [torch.frombuffer(bytearray(file), dtype=torch.uint8) for file in files]
        return list(decode_jpeg(data, mode=ImageReadMode.RGB, device=device))
