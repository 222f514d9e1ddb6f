"""Handling of signals and of lost worker processes, both of which end a run with a checkpoint."""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch.utils.data import DataLoader

from stmga.data.sampling import PKSampler
from stmga.data.training_set import TrainingSet, collate
from stmga.tracklets.tracklet import TrackletError
from stmga.utils.workers import Shared, SharedMemoryError, checked

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequest:
    """``signum`` is the received signal, or None."""

    def __init__(self) -> None:
        self.signum: int | None = None


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Inside, the first SIGINT or SIGTERM is stored as a request; a second one has its usual effect at once.

    Signals can only be caught in the main thread. In other threads this does nothing.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before: dict[int, Any] = {}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        request.signum = number
        restore()

    for number in SIGNALS:
        before[number] = signal.signal(number, note)
    try:
        yield request
    finally:
        restore()


def ignore_signals(number: int) -> None:
    """For ``DataLoader(worker_init_fn=...)``: workers ignore signals, and the run ends them when it stops.

    If the workers ended first, no batch would arrive and the run could not write its checkpoint.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def batches_of(
    data: TrainingSet, sampler: PKSampler, workers: int, device: torch.device
) -> Iterator[Iterator[Mapping[str, Any]]]:
    """The batches of an epoch. Workers end when the block is left; kept frames are read without workers.

    A process that exits sends SIGTERM to its workers and waits, but workers with :func:`ignore_signals` would not end.
    """
    if data.store is not None:
        yield map(data.batch, sampler)
        return
    loader = DataLoader(
        data,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=Shared(collate),
        worker_init_fn=ignore_signals,
        pin_memory=device.type == "cuda",
    )
    others = set(multiprocessing.active_children())
    reading: Any = iter(loader)
    own = set(multiprocessing.active_children()) - others
    try:
        yield map(checked, reading)
    finally:
        # torch does this when the iterator is collected, which an exception that refers to it would delay
        if own and hasattr(reading, "_shutdown_workers"):
            with _lost_workers_are_known():
                reading._shutdown_workers()
        for worker in own:
            if worker.is_alive():
                worker.kill()


@contextmanager
def _lost_workers_are_known() -> Iterator[None]:
    """While workers are shut down, ignore the loss of one, which torch reports once, whenever its signal arrives."""
    try:
        yield
    except RuntimeError as error:
        if not reading_fault(error):
            raise


def reading_fault(error: Exception) -> str:
    """Why a batch could not be read, in one line without the worker's traceback; "" for other errors."""
    text = str(error).strip()
    if isinstance(error, TrackletError):
        return f"{text.splitlines()[-1]}: repair or remove it"
    if isinstance(error, SharedMemoryError):
        return str(error.strerror)
    if isinstance(error, ConnectionError | EOFError):  # killed while sending its tensors
        return "a DataLoader worker exited unexpectedly: it may have run out of memory: take fewer workers"
    if "DataLoader worker" in text:
        return f"{text.splitlines()[0]}: it may have run out of memory: take fewer workers"
    return ""
