"""Which frames of a tracklet a training clip takes."""

from __future__ import annotations

import numpy as np


def train_clip(frames: int, length: int, stride: int, rng: np.random.Generator) -> list[int]:
    """Frame numbers of one random training clip: ``length`` of ``frames``, ascending (D38 of the method notes).

    - at least ``length * stride`` frames: every ``stride``-th one from a random start, all starts as likely;
    - fewer, but at least ``length``: ``length`` distinct ones at random;
    - fewer than ``length``: with replacement, so some come twice. This is the padding of training.

    Args:
        frames: how many the tracklet has.
        length, stride: of the clip, in frames; the paper's are 8 and 4.
        rng: decides; the same state gives the same clip.

    Raises:
        ValueError: a number below 1.

    >>> rng = np.random.default_rng(0)
    >>> np.diff(train_clip(100, 5, 8, rng)).tolist(), train_clip(5, 5, 8, rng), set(train_clip(2, 50, 8, rng))
    ([8, 8, 8, 8], [0, 1, 2, 3, 4], {0, 1})
    """
    if min(frames, length, stride) < 1:
        raise ValueError(f"frames, length and stride must be at least 1, got {frames}, {length} and {stride}")
    if frames >= length * stride:
        span = (length - 1) * stride + 1
        start = int(rng.integers(frames - span + 1))
        return list(range(start, start + span, stride))
    if frames >= length:
        return sorted(rng.choice(frames, length, replace=False).tolist())
    return sorted(rng.integers(frames, size=length).tolist())


def cut_pieces(frames: int, step: int) -> list[range]:
    """Cut a long training tracklet into pieces of ``step`` frames (D41); the last piece also takes the rest.

    So every frame is in exactly one piece, and none has fewer than ``step`` frames unless the tracklet itself has.
    ``step`` 0 does not cut. Raises ValueError for no frames or a negative step.

    >>> cut_pieces(70, 32), cut_pieces(20, 32), cut_pieces(70, 0)
    ([range(0, 32), range(32, 70)], [range(0, 20)], [range(0, 70)])
    """
    if frames < 1 or step < 0:
        raise ValueError(f"expected at least 1 frame and a step of at least 0 (0: not cut), got {frames} and {step}")
    pieces = max(1, frames // step) if step else 1
    starts = [i * step for i in range(pieces)]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], frames], strict=True)]
