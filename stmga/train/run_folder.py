"""The folder of a run: its settings, the log, the checkpoint, and the weights so far."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga._version import __version__
from stmga.data.benchmark import Benchmark
from stmga.model import STMGA
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.train.config import TrainConfig
from stmga.train.errors import TrainingError
from stmga.utils.claim import FolderClaim
from stmga.utils.distributed import World, all_gather_objects
from stmga.utils.files import atomic_write
from stmga.utils.foreign import MB, check_depth, fast_json, read_regular, shown

if TYPE_CHECKING:
    from typing_extensions import Self

logger = logging.getLogger(__name__)

LOG_LIMIT = 256 * MB
CONFIG, LOG, CHECKPOINT = "run.json", "log.jsonl", "checkpoint.safetensors"
CLAIM = FolderClaim(
    file=CONFIG,
    what="the folder of a run",
    other="is the run of another configuration",
    resume="Ask for the same to resume it, name a new folder, or start a new run from its weights with --from "
    "{folder}/last",
    error=TrainingError,
)


class RunFolder:
    """``run.json``, ``log.jsonl``, ``checkpoint.safetensors``, and ``best/`` and ``last/`` as saved networks.

    In the main process it locks the folder until it is closed: ``with run_folder: ...`` closes it.

    Args:
        path: a new or empty folder, or that of the same run, which is then resumed.
        asked: everything that the result depends on, as plain JSON values.
        inputs: the training images.

    Raises:
        TrainingError: the folder contains something else or a run with other settings or images, or another process
            trains in it.
    """

    def __init__(
        self, path: str | Path, asked: Mapping[str, Any], inputs: InputRecord | None = None, *, leads: bool = True
    ) -> None:
        self.path = Path(path)
        self.checkpoint = self.path / CHECKPOINT
        self._held = ExitStack()
        spec = {"stmga": __version__, **asked}
        if leads:
            self._held.enter_context(CLAIM.hold(self.path, spec, inputs))
        else:
            CLAIM.check(self.path, spec)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._held.close()

    @property
    def begun(self) -> bool:
        """Whether there is a checkpoint to resume from."""
        return self.checkpoint.is_file()

    def lines(self, epochs: int | None = None) -> list[dict[str, Any]]:
        """The log of the first ``epochs`` epochs; a truncated or damaged line is left out."""
        file = self.path / LOG
        rows = []
        for line in read_regular(file, LOG_LIMIT).decode("utf-8", "replace").splitlines() if file.is_file() else []:
            try:
                row = fast_json(line)
                check_depth(row)
                if not isinstance(row, dict) or type(row.get("epoch")) is not int:
                    raise ValueError("it has no epoch")
                rows.append(row)
            except ValueError as error:
                logger.warning("%s has a line that is left out (%s): %s", file, error, shown(line))
        return [row for row in rows if epochs is None or row["epoch"] <= epochs]

    def rewind(self, epochs: int) -> None:
        """Keep the lines of the first ``epochs`` epochs: those after the checkpoint are computed again."""
        text = "".join(json.dumps(row) + "\n" for row in self.lines(epochs))
        atomic_write(self.path / LOG, text.encode())

    def append(self, row: Mapping[str, Any]) -> None:
        """Append a line to the log; it is on disk when this returns."""
        with open(self.path / LOG, "a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def run_spec(
    model: STMGA,
    benchmark: Benchmark,
    config: TrainConfig,
    persons: int,
    processes: int,
    started_from: str,
    teacher: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Everything that the result of a run depends on, as plain JSON values."""
    identities = _sha(sorted({str(tracklet.person) for tracklet in benchmark.train}))
    train = {
        "tracklets": len(benchmark.train), "persons": persons, "identities": identities,
        "digest": tracklets_digest(benchmark.train),
    }  # fmt: skip
    test = {
        "digest": tracklets_digest([*benchmark.query, *benchmark.gallery]),
        "protocol": benchmark.protocol.to_dict(),
    }
    return {
        "processes": processes,
        "started_from": started_from,
        "data": {"name": benchmark.name, **train, "test": test},
        "network": model.config.to_dict(),
        "train": config.to_dict(),
        "teacher": teacher,
    }


def open_run(
    path: str | Path, asked: Mapping[str, Any], benchmark: Benchmark, world: World, *, trust_content: bool = False
) -> RunFolder:
    """The run folder. The main process creates it, and all processes raise its errors."""
    error, folder = "", None
    if world.is_main:
        every = [*benchmark.train, *benchmark.query, *benchmark.gallery]
        try:
            folder = RunFolder(path, asked, InputRecord(every, contents=trust_content))
        except TrainingError as found:
            error = str(found)
    if first := next(filter(None, all_gather_objects(error)), ""):
        raise TrainingError(first)
    return folder or RunFolder(path, asked, leads=False)


def tracklets_digest(tracklets: Sequence[Tracklet]) -> str:
    """A digest, 16 hex digits, of ids, labels, numbers of frames and file sizes: other crops are another run."""
    sizes: dict[Path, int] = {}  # of every file once: frames of a video or of a pack share one file
    rows = [[t.id, t.person, t.camera, len(t), _bytes(t, sizes)] for t in tracklets]
    return _sha(rows)


def _bytes(tracklet: Tracklet, sizes: dict[Path, int]) -> list[int]:
    """The sizes of the files of a tracklet's frames; none for frames in memory and missing files."""
    files = [frame.file for frame in tracklet.frames if isinstance(frame, Frame)] if len(tracklet) else []
    for file in files:
        if file not in sizes:
            sizes[file] = file.stat().st_size if file.is_file() else 0
    return [sizes[file] for file in files]


def _sha(values: object) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:16]
