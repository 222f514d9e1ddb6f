"""Errors that end a training run early. In each case the last good checkpoint is complete."""

from __future__ import annotations

import signal


class TrainingError(RuntimeError):
    """The run cannot start, or cannot continue; the message says why and what to do."""


class NotFiniteError(TrainingError):
    """A batch, a loss or a gradient holds NaN or infinity; the message names the batch."""


class StoppedError(TrainingError):
    """A signal asked the run to stop; it wrote a checkpoint first. ``signum`` is the signal."""

    def __init__(self, message: str, signum: int = signal.SIGINT) -> None:
        super().__init__(message)
        self.signum = signum
