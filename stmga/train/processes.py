"""Signals, and the worker processes that read frames: both end a run with a checkpoint."""

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
    """``signum`` is the signal that came, None so far."""

    def __init__(self) -> None:
        self.signum: int | None = None


@contextmanager
def catch_signals() -> Iterator[StopRequest]:
    """Inside, the first SIGINT or SIGTERM is kept as a request; a second one acts at once, as it would have before.

    In another thread than the main one signals cannot be caught, and nothing is done.
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
    """For ``DataLoader(worker_init_fn=...)``: a signal to all processes stops the run, which then ends its workers.

    If the workers ended first, no batch would come and the run could not reach a checkpoint.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


@contextmanager
def batches_of(
    data: TrainingSet, sampler: PKSampler, workers: int, device: torch.device
) -> Iterator[Iterator[Mapping[str, Any]]]:
    """The batches of an epoch. Workers end with the block, however it is left; kept frames are read without workers.

    A process that ends sends SIGTERM to its workers and waits for them. Those of :func:`ignore_signals` would not end.
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
        # torch does this when the iterator is collected, which an exception that refers to it puts off
        if own and hasattr(reading, "_shutdown_workers"):
            with _lost_workers_are_known():
                reading._shutdown_workers()
        for worker in own:
            if worker.is_alive():
                worker.kill()


@contextmanager
def _lost_workers_are_known() -> Iterator[None]:
    """While workers are shut down, the loss of one is no news: torch reports it once, whenever its signal comes."""
    try:
        yield
    except RuntimeError as error:
        if not reading_fault(error):
            raise


def reading_fault(error: Exception) -> str:
    """What went wrong when a batch was read, in one line and without the worker's traceback; "" for anything else."""
    text = str(error).strip()
    if isinstance(error, TrackletError):
        return f"{text.splitlines()[-1]}: repair or remove it"
    if isinstance(error, SharedMemoryError):
        return str(error.strerror)
    if isinstance(error, ConnectionError | EOFError):  # killed while it handed its tensors over
        return "a DataLoader worker exited unexpectedly: it may have run out of memory: take fewer workers"
    if "DataLoader worker" in text:
        return f"{text.splitlines()[0]}: it may have run out of memory: take fewer workers"
    return ""
