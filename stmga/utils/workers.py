"""``DataLoader`` workers that never hang: they move tensors to shared memory before sending them."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.data import get_worker_info

Batch = TypeVar("Batch")


class SharedMemoryError(OSError):
    """The shared memory through which worker processes send frames is full."""


@dataclass(frozen=True)
class Shared:
    """A ``collate_fn`` that moves its tensors to shared memory in worker processes.

    Otherwise the worker's queue does it in a thread, where an error is only printed. The batch is lost, and the main
    process waits for it forever. Here the error is an error of reading, which reaches the main process.
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
    """The batches of a loader with a :class:`Shared` collate function.

    Raises:
        SharedMemoryError: a worker had no room for a batch.
    """
    for batch in loader:
        yield checked(batch)


def checked(batch: Batch) -> Batch:
    """The batch; SharedMemoryError if a worker had no room for it."""
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
