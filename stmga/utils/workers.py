"""Worker processes of a ``DataLoader`` that never hang: what they hand over is in shared memory before it is sent."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.data import get_worker_info

Batch = TypeVar("Batch")


class SharedMemoryError(OSError):
    """There is no room in the shared memory by which worker processes hand over frames."""


@dataclass(frozen=True)
class Shared:
    """A ``collate_fn`` whose tensors are moved to shared memory, in worker processes.

    A queue would do that itself, in a thread of the worker, where an error is printed and the batch is lost: then the
    main process waits for it for ever. Here the error is one of reading, which reaches the main process.
    """

    collate: Callable[[Any], Any]

    def __call__(self, samples: Any) -> Any:
        batch = self.collate(samples)
        if get_worker_info() is None:
            return batch
        try:
            _share(batch)
        except RuntimeError as error:
            return _Full(str(error).strip().splitlines()[0])
        return batch


@dataclass(frozen=True)
class _Full:
    reason: str


def batches(loader: Iterable[Batch]) -> Iterator[Batch]:
    """What a loader with a :class:`Shared` collate function gives.

    Raises:
        SharedMemoryError: a worker had no room for a batch.
    """
    for batch in loader:
        yield checked(batch)


def checked(batch: Batch) -> Batch:
    """The batch; SharedMemoryError where a worker had no room for it."""
    if isinstance(batch, _Full):
        raise SharedMemoryError(
            errno.ENOSPC,
            f"workers have no shared memory left for frames ({batch.reason}). Take fewer workers or a smaller batch, "
            "or enlarge /dev/shm (docker run --shm-size=2g)",
        )
    return batch


def _share(value: Any) -> None:
    """Move every tensor inside lists, tuples and dicts to shared memory."""
    if isinstance(value, Tensor):
        value.share_memory_()
    elif isinstance(value, dict):
        _share(list(value.values()))
    elif isinstance(value, list | tuple):
        for one in value:
            _share(one)
