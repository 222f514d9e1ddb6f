"""The features of frames, each computed once, and gathered into clips as often as the clips repeat it."""

from __future__ import annotations

from collections.abc import Container, Sequence

import torch
from torch import Tensor

from stmga.embedding.clip_dataset import ClipRows


class FrameFeatures:
    """(n ...), features of the frames of a batch -> (b t ...), of the frames of its clips.

    The last clip of a long tracklet loops back to the tracklet's first frames, perhaps those of an earlier batch. So
    the features of these are kept: fewer than one clip's frames, of one tracklet at a time.

    Args:
        counts: how many clips each tracklet has.
        length: frames in a clip.

    >>> frames = FrameFeatures(counts=[2], length=4)  # a tracklet of five frames, in batches of one clip
    >>> frames.gather(torch.tensor([10, 11, 12, 13]), [ClipRows(0, [0, 1, 2, 3], [0, 1, 2, 3])])
    tensor([[10, 11, 12, 13]])
    >>> frames.gather(torch.tensor([14]), [ClipRows(0, [4, 0, 1, 2], [4])])
    tensor([[14, 10, 11, 12]])
    """

    def __init__(self, counts: Sequence[int], length: int) -> None:
        self.counts, self.length = counts, length
        self._kept: Tensor | None = None
        self._names: list[tuple[int, int]] = []  # the tracklet and the frame of each kept row

    def gather(self, features: Tensor, clips: Sequence[ClipRows], without: Container[int] = ()) -> Tensor:
        """The features of the ``new`` frames of these clips, in order -> those of the clips' frames.

        Args:
            features: (n ...).
            clips: of the batch, one or more.
            without: tracklets that have faults, whose clips are left out; not all.
        """
        pool = features if self._kept is None else torch.cat([self._kept, features])
        names = [*self._names, *((clip.owner, frame) for clip in clips for frame in clip.new)]
        row = {name: number for number, name in enumerate(names)}
        self._keep(pool, row, clips[-1].owner)
        good = [clip for clip in clips if clip.owner not in without]
        return _rows(pool, [row[clip.owner, frame] for clip in good for frame in clip.indices], len(good))

    def _keep(self, pool: Tensor, row: dict[tuple[int, int], int], owner: int) -> None:
        """Keep the first frames of the tracklet that the next batch may belong to."""
        more = self.counts[owner] > 1
        self._names = [name for name in row if more and name[0] == owner and name[1] < self.length - 1]
        self._kept = _rows(pool, [row[name] for name in self._names], 1)[0] if self._names else None


def _rows(pool: Tensor, rows: list[int], b: int) -> Tensor:
    """(n ...) -> (b t ...)."""
    index = torch.tensor(rows, dtype=torch.int64, device="cpu")
    return pool[index.to(pool.device, non_blocking=True)].unflatten(0, (b, -1))
