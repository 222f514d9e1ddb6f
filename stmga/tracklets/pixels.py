"""Pixels in memory: which images, arrays and tensors are frames. One rule for tracklets and the transform."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from stmga.tracklets.limits import MAX_PIXELS, check_pixels
from stmga.tracklets.orientation import image_orientation, upright
from stmga.tracklets.pillow import check_image, check_source, rgb

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
OVERSHOOT = 1e-3  # how far floats may be outside 0..1: enough for rounding, not for resizing or normalising


def is_image(frame: Any) -> bool:
    """Whether it is a PIL image, without importing PIL."""
    return hasattr(frame, "convert") and hasattr(frame, "mode")


def as_clip(frames: Any) -> Any:
    """A single image, `(h, w, 3)` array or `(3, h, w)` tensor as a clip of one frame; anything else unchanged.

    >>> as_clip(np.zeros((128, 64, 3), np.uint8)).shape, as_clip(torch.zeros(5, 3, 128, 64)).shape
    ((1, 128, 64, 3), torch.Size([5, 3, 128, 64]))
    """
    if isinstance(frames, np.ndarray):
        return frames[None] if frames.ndim == 3 and frames.shape[-1] == 3 else frames
    if isinstance(frames, torch.Tensor):
        return frames[None] if frames.ndim == 3 and frames.shape[0] == 3 else frames
    return (frames,) if is_image(frames) else frames


def check_layout(pixels: np.ndarray | torch.Tensor, ndim: int, *, batched: bool = False) -> None:
    """Check by shape and type that pixels are RGB frames; their values are not checked.

    Args:
        pixels: an array, channels last, or a tensor, channels first.
        ndim: 3 for one frame, 4 for several.
        batched: whether more axes may come first.

    Raises:
        ValueError: another shape.
        TypeError: values that are neither uint8 nor floats.
    """
    is_array, shape = isinstance(pixels, np.ndarray), tuple(pixels.shape)
    channels = -1 if is_array else -3
    if len(shape) < ndim or (len(shape) > ndim and not batched) or shape[channels] != 3:
        kind, one = ("array", "(h, w, 3)") if is_array else ("tensor", "(3, h, w)")
        several = one.replace("(", "(..., t, " if batched else "(t, ")
        expected = one if ndim == 3 else f"{several}, or {one} for one frame"
        order = "channels last and RGB" if is_array else "channels first and RGB"
        raise ValueError(f"{kind} of shape {shape}, expected {expected}: {order}{_shape_hint(shape, is_array)}")
    if not _is_pixel_type(pixels):
        kind, cast = ("array", ".astype(np.uint8)") if is_array else ("tensor", ".to(torch.uint8)")
        raise TypeError(
            f"{kind} of {pixels.dtype}, expected uint8 in 0..255 or floats in 0..1; "
            f"convert values of 0..255 with {cast}"
        )


def to_pixels(frame: Any, max_pixels: int = MAX_PIXELS) -> torch.Tensor:
    """One frame in memory (PIL image, `(h, w, 3)` array, `(3, h, w)` tensor) as a tensor `(3, h, w)`.

    EXIF orientation is applied to images as `PIL.Image.open` returned them, but not to images made from others. Raises
    `ValueError` for too many pixels, values of unknown range, or a truncated file.
    """
    if isinstance(frame, torch.Tensor):
        if frame.ndim > 1:
            check_pixels(frame.shape[-1], frame.shape[-2], max_pixels)
        return frame.detach().cpu()
    if isinstance(frame, np.ndarray):
        if frame.ndim > 1:
            check_pixels(frame.shape[1], frame.shape[0], max_pixels)
        return from_array(frame)
    check_image(frame, max_pixels)
    check_source(frame, max_pixels)
    orientation = image_orientation(frame)
    return from_array(upright(rgb(frame), orientation))


def from_array(pixels: np.ndarray) -> torch.Tensor:
    """(... h w 3) -> (... 3 h w), a copy, as the array may be read-only or a view backwards; floats become float32."""
    # torch knows neither long doubles nor foreign byte orders
    dtype = np.float32 if pixels.dtype.kind == "f" else pixels.dtype
    return torch.from_numpy(np.array(np.moveaxis(pixels, -1, -3), dtype=dtype, order="C"))


def checked_range(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 unchanged; floats in 0..1, with an overshoot of up to 0.001 clamped. More, or NaN, is a `ValueError`."""
    if not pixels.is_floating_point() or not pixels.numel():
        return pixels
    low, high = (bound.item() for bound in torch.aminmax(pixels.detach()))
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError("the frames hold NaN or infinite values; expected floats in 0..1")
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        bytes_as_floats = low >= 0 and 2 < high <= 255
        raise ValueError(
            f"float frames must be in 0..1, got {low:.4g}..{high:.4g}; "
            + (
                "divide values of 0..255 by 255, or pass them as uint8"
                if bytes_as_floats
                else "pass the frames as they were before they were normalised, in 0..1 or as uint8 in 0..255"
            )
        )
    return pixels.clamp(0, 1) if low < 0 or high > 1 else pixels


def _is_pixel_type(pixels: np.ndarray | torch.Tensor) -> bool:
    if isinstance(pixels, np.ndarray):
        return pixels.dtype == np.uint8 or pixels.dtype.kind == "f"
    return pixels.dtype == torch.uint8 or pixels.dtype in FLOATS


def _shape_hint(shape: tuple[int, ...], is_array: bool) -> str:
    """What to type for the usual mistakes: the channels at the other end, grey frames, an alpha channel, a batch."""
    last, first = (shape[-1], shape[-3]) if len(shape) > 2 else (0, 0)
    here, there = (last, first) if is_array else (first, last)
    if here == 3:
        return "; for several tracklets pass a list of them: list(frames)" if len(shape) > 4 else ""
    if there == 3:
        return f"; move the channels with {'np.moveaxis(frames, -3, -1)' if is_array else 'frames.movedim(-1, -3)'}"
    if here == 4:
        return f"; leave out the alpha channel: frames[..., :3{'' if is_array else ', :, :'}]"
    if here == 1:
        repeat = "frames.repeat(3, -1)" if is_array else "frames.repeat_interleave(3, -3)"
        return f"; repeat the grey channel: {repeat}"
    if len(shape) in (2, 3):
        stack = "np.stack([frames] * 3, -1)" if is_array else "torch.stack([frames] * 3, -3)"
        return f"; for grey frames write {stack}"
    return ""
