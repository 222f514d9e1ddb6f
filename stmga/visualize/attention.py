"""Part attentions over the frames of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stmga.utils.arrays import to_numpy
from stmga.visualize.canvas import LINE, PAPER, draw_lines, stack

HEAT = np.array([[16, 12, 60], [106, 28, 128], [208, 56, 92], [248, 148, 66], [252, 236, 150]], dtype=np.float32)


def part_overlay(
    frames: Any, attentions: Any, *, names: Sequence[str] = (), title: str = "", note: str = ""
) -> Image.Image:
    """uint8 frames ``(t, h, w, 3)`` and attentions ``(t, n, h', w')`` -> the frames, and a row of heat for each part.

    Each part's colours run from its lowest to its highest value over all frames. The range is printed beside the row,
    because a part that hardly varies (an untrained one) looks as colourful as one that does. ``names`` label the parts.

    Either may be an array or a tensor on any device.

    Raises:
        ValueError: shapes that do not fit each other, or values that are not finite.

    >>> part_overlay(np.zeros((4, 128, 64, 3), np.uint8), np.random.rand(4, 7, 16, 8)).mode
    'RGB'
    """
    frames, heat = to_numpy(frames), to_numpy(attentions).astype(np.float32)
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise ValueError(f"expected uint8 frames (t, h, w, 3), got {frames.dtype} {frames.shape}")
    if heat.ndim != 4 or len(heat) != len(frames):
        raise ValueError(f"expected attentions ({len(frames)}, n, h, w) for {len(frames)} frames, got {heat.shape}")
    if heat.size == 0 or not np.isfinite(heat).all():
        raise ValueError(f"attentions {heat.shape} are empty or hold NaN or infinite values")
    label, height = 96, 116
    width = max(1, round(height * frames.shape[2] / frames.shape[1]))
    step_x, step_y = width + 5, height + 5
    parts = heat.shape[1]
    canvas = Image.new("RGB", (label + len(frames) * step_x - 5, (parts + 1) * step_y - 5), PAPER)
    small = [Image.fromarray(frame).resize((width, height), Image.Resampling.LANCZOS) for frame in frames]
    for row in range(-1, parts):
        top = (row + 1) * step_y
        lines = ["frames"] if row < 0 else [names[row] if row < len(names) else f"part {row + 1}", _span(heat[:, row])]
        draw_lines(canvas, lines, (0, top + height // 2 - LINE, label - 8), centre=False)
        for column, picture in enumerate(small):
            shown = picture if row < 0 else _heated(picture, heat[column, row], heat[:, row])
            canvas.paste(shown, (label + column * step_x, top))
    return stack([canvas], title=title, note=note)


def _span(values: NDArray[np.float32]) -> str:
    return f"{values.min():.3f} to {values.max():.3f}"


def _heated(picture: Image.Image, heat: NDArray[np.float32], all_frames: NDArray[np.float32]) -> Image.Image:
    """The picture in grey under the heat of one part; warm and opaque where the attention is high."""
    low, high = float(all_frames.min()), float(all_frames.max())
    scaled = (heat - low) / max(high - low, 1e-12)
    smooth = Image.fromarray(scaled).resize(picture.size, Image.Resampling.BICUBIC)
    value = np.clip(np.asarray(smooth), 0, 1)
    steps = np.arange(len(HEAT)) / (len(HEAT) - 1)
    colour = np.stack([np.interp(value, steps, HEAT[:, c]) for c in range(3)], axis=-1)
    grey = np.asarray(picture.convert("L"), dtype=np.float32)[..., None]
    opacity = 0.15 + 0.6 * value[..., None]
    return Image.fromarray(np.rint((1 - opacity) * grey + opacity * colour).astype(np.uint8))
