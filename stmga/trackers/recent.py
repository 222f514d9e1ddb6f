"""The last crops of each track, in bounded memory."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque

from torch import Tensor

logger = logging.getLogger(__name__)


class RecentCrops:
    """The last ``most`` crops of each track, the newest last.

    Args:
        most: crops of a track.
        max_bytes: of all crops together. Beyond it, :meth:`trim` forgets the tracks that were not seen for longest.

    >>> import torch
    >>> recent = RecentCrops(2, max_bytes=100)
    >>> [len(recent.add(7, torch.zeros(3, 2, 2, dtype=torch.uint8))) for _ in range(3)], recent.bytes
    ([1, 2, 2], 24)
    """

    def __init__(self, most: int, max_bytes: int) -> None:
        self.most, self.max_bytes = most, max_bytes
        self.bytes = 0
        self._tracks: OrderedDict[int, deque[Tensor]] = OrderedDict()  # the track seen last is last
        self._warned = False

    def __len__(self) -> int:
        return len(self._tracks)

    def add(self, track: int, crop: Tensor) -> list[Tensor]:
        """Keep a crop of a track; returns the crops that the track has now."""
        crops = self._tracks.setdefault(track, deque())
        self._tracks.move_to_end(track)
        crops.append(crop)
        self.bytes += crop.nbytes
        if len(crops) > self.most:
            self.bytes -= crops.popleft().nbytes
        return list(crops)

    def trim(self, seen: int) -> None:
        """Forget tracks until the crops fit into the memory; ``seen`` tracks are in the newest frame."""
        while self.bytes > self.max_bytes:
            _, crops = self._tracks.popitem(last=False)
            self.bytes -= sum(crop.nbytes for crop in crops)
            if len(self._tracks) < seen and not self._warned:
                self._warned = True
                logger.warning(
                    "the crops of one frame's tracks exceed max_bytes=%s: some clips have fewer crops; raise max_bytes",
                    f"{self.max_bytes:,}",
                )

    def clear(self) -> None:
        """Forget all tracks."""
        self._tracks.clear()
        self.bytes = 0
