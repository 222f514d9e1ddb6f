"""The engine: from a network, a benchmark and a configuration to a run folder that can be stopped at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from stmga.data.benchmark import Benchmark
from stmga.model import STMGA
from stmga.train.config import TrainConfig
from stmga.train.continuation import Stage
from stmga.train.result import Result
from stmga.train.trainer import RunOptions, Trainer
from stmga.utils.cpu import flushed_denormals
from stmga.utils.distributed import World, process_group


@contextmanager
def training_process(device: str | torch.device | None = None) -> Iterator[World]:
    """Prepare a process for training: flush denormal numbers to zero, and join the processes of ``torchrun``.

    :func:`train` enters it. Enter it yourself before you build the network: torch's threads start with the first
    computation, and only threads that start inside flush denormal numbers, which slow a CPU to a third of its speed
    after some thousand steps. It may be entered again inside.

    Args:
        device: where to compute; default: the GPU if there is one.

    >>> from stmga import create_model
    >>> with training_process("cpu") as world:
    ...     model = create_model("stmga_resnet18_c4")  # then: train(model, benchmark, recipe("small"), "runs/mine")
    >>> world.size, world.device
    (1, device(type='cpu'))
    """
    with flushed_denormals(), process_group(device) as world:
        yield world


def train(
    model: STMGA,
    benchmark: Benchmark,
    config: TrainConfig,
    folder: str | Path,
    *,
    device: str | torch.device | None = None,
    workers: int = 0,
    keep_frames: bool = False,
    progress: bool = False,
    tensorboard: bool = False,
    started_from: str = "",
    after: Stage | None = None,
    teacher: str | Path | None = None,
    trust_content: bool = False,
) -> Result:
    """Train ``model`` on ``benchmark.train``, validate on its test, and keep everything in ``folder``.

    A folder with a checkpoint of the same run is resumed and gives the same final parameters as without a stop.
    Under ``torchrun``, every process calls this. SIGINT and SIGTERM write a checkpoint and raise ``StoppedError``.

    Args:
        model: trained in place, in float32; its input size and clip length are those of its configuration.
        benchmark: tracklets and protocol. Without queries there is no validation, and no ``best/``.
        config: the settings that the result depends on.
        folder: new, empty, or that of the same run.
        device: where to compute; default: the GPU if there is one.
        workers: processes that read frames, or threads with ``keep_frames``.
        keep_frames: keep decoded frames in the memory of the device after their first read: 98 KB per frame of
            256 x 128. The result is the same.
        progress: show bars.
        tensorboard: write ``folder/tensorboard`` too (needs the package tensorboard).
        started_from: where the model's weights come from, as text, for the record.
        after: the stage before this one: ``model`` gets its trunk, necks and classifiers.
        teacher: a file of :func:`stmga.train.teacher_vectors` for ``benchmark.train``, whose network teaches this one.
        trust_content: compare the contents of image files with those of the resumed run and of the teacher, instead of
            their paths, sizes and modification times. Both must have been started with it.

    Raises:
        TrainingError: the folder belongs to another run or other images, another process trains in it, a checkpoint is
            damaged, or a worker was killed.
        NotFiniteError: NaN or infinity in a loss or a gradient; the message names the batch.
        ValueError: tracklets that cannot be trained on.
        TeacherError: the teacher's file is damaged, or is of other tracklets.
    """
    with training_process(device) as world:
        options = RunOptions(
            workers=workers,
            keep_frames=keep_frames,
            progress=progress and world.is_main,
            tensorboard=tensorboard,
            trust_content=trust_content,
        )
        trainer = Trainer(
            model, benchmark, config, folder, world, options=options, started_from=started_from, after=after,
            teacher=teacher,
        )  # fmt: skip
        return trainer.run()
