"""The processes that read frames: deaf to signals that are meant for the run, and understood when they fail."""

from __future__ import annotations

import signal

from stmga.tracklets import TrackletError


def deaf_worker(number: int) -> None:
    """For ``DataLoader(worker_init_fn=...)``: a signal to all processes stops the run, which then ends its workers.

    Were they to die of it first, there would be no batch to go on to a checkpoint with.
    """
    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, signal.SIG_IGN)


def reading_fault(error: Exception) -> str:
    """What went wrong when a batch was read, in one line and without the worker's traceback; "" for anything else."""
    text = str(error).strip()
    if isinstance(error, TrackletError):
        return f"{text.splitlines()[-1]}: mend or remove it"
    if "DataLoader worker" in text:
        return f"{text.splitlines()[0]}: it may have run out of memory: take fewer workers"
    return ""
