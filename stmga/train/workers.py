"""The processes that read frames: deaf to signals that are meant for the run, and understood when they fail."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from stmga.tracklets import TrackletError


def deaf_worker(number: int) -> None:
    """For ``DataLoader(worker_init_fn=...)``: a signal to all processes stops the run, which then ends its workers.

    Were they to die of it first, there would be no batch to go on to a checkpoint with.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def batches_of(loader: DataLoader[Any]) -> Iterator[Iterator[Any]]:
    """The batches of a loader, whose workers end with the block, however it is left.

    A process that ends asks its workers to by SIGTERM, and waits; for those of :func:`deaf_worker` it would for ever.
    """
    others = set(multiprocessing.active_children())
    batches: Any = iter(loader)
    workers = set(multiprocessing.active_children()) - others
    try:
        yield batches
    finally:
        # torch does this when the iterator is collected, which an exception that refers to it puts off
        if workers and hasattr(batches, "_shutdown_workers"):
            batches._shutdown_workers()
        for worker in workers:
            if worker.is_alive():
                worker.kill()


def reading_fault(error: Exception) -> str:
    """What went wrong when a batch was read, in one line and without the worker's traceback; "" for anything else."""
    text = str(error).strip()
    if isinstance(error, TrackletError):
        return f"{text.splitlines()[-1]}: mend or remove it"
    if "DataLoader worker" in text:
        return f"{text.splitlines()[0]}: it may have run out of memory: take fewer workers"
    return ""
