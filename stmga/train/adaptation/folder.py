"""The folder of an adaptation: its settings, one row and the labels of every round, and the weights that are kept."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga.embedding.embeddings import Embeddings
from stmga.hub.records import CARD_FILE, CONFIG_FILE, WEIGHTS_FILE
from stmga.model import STMGA
from stmga.train.adaptation.labels import Labels
from stmga.train.adaptation.site import View
from stmga.train.errors import TrainingError
from stmga.utils.claim import FolderClaim
from stmga.utils.files import atomic_write
from stmga.utils.foreign import MB, fast_json, read_regular

ROUNDS, BEST = "rounds.jsonl", "best"
ROWS_LIMIT = 16 * MB
CLAIM = FolderClaim(
    file="adapt.json",
    what="the folder of an adaptation",
    other="is the adaptation of other tracklets, weights or settings",
    resume="Ask for the same to resume it, or name a new folder",
    named={"tracklets": "the tracklets were others", "calibration": "the calibration of the weights was another"},
    error=TrainingError,
)


class AdaptFolder:
    """``rounds.jsonl``; ``linked-N/`` with vectors and labels of the weights after N rounds; ``round-N/``, the run of
    the N-th training; and ``best/``, the weights that are kept.

    What a round writes is complete once its row is in ``rounds.jsonl``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / BEST

    @property
    def finished(self) -> bool:
        """Whether the kept weights exist. They are written last."""
        return all((self.best / name).is_file() for name in (WEIGHTS_FILE, CONFIG_FILE, CARD_FILE))

    def run(self, number: int) -> Path:
        """The folder of a training."""
        return self.path / f"round-{number}"

    def networks(self, number: int, *, device: str | torch.device = "cpu") -> Iterator[STMGA]:
        """The networks of so many trainings, in order; each is loaded when it is asked for."""
        return (STMGA.from_pretrained(self.run(done) / "last", device=device) for done in range(1, number + 1))

    def rows(self) -> list[dict[str, Any]]:
        """The finished rounds, in order.

        Raises:
            TrainingError: the file is damaged.
        """
        file = self.path / ROUNDS
        lines = read_regular(file, ROWS_LIMIT).decode("utf-8", "replace").splitlines() if file.is_file() else []
        try:
            rows = [fast_json(line) for line in lines]
            if [row["round"] for row in rows] != list(range(len(rows))):
                raise ValueError("rounds are missing")
        except (ValueError, TypeError, KeyError) as error:
            raise TrainingError(f"{file} is damaged ({error}): name a new folder") from error
        return rows

    def append(self, rows: list[dict[str, Any]]) -> None:
        """Write all rows again, whole or not at all."""
        atomic_write(self.path / ROUNDS, "".join(json.dumps(row) + "\n" for row in rows).encode())

    def save(self, number: int, view: View, labels: Labels) -> None:
        """Write what the weights after so many rounds see, and whom they find."""
        folder = self.path / f"linked-{number}"
        folder.mkdir(exist_ok=True)
        view.whole.save(folder / "whole.safetensors")
        view.halves.save(folder / "halves.safetensors")
        labels.save(folder / "labels.json")

    def load(self, number: int, tracklets: int) -> tuple[View, Labels]:
        """What :meth:`save` wrote.

        Raises:
            TrainingError: a file is missing or damaged.
        """
        folder = self.path / f"linked-{number}"
        try:
            labels = Labels.load(folder / "labels.json", tracklets)
            whole = Embeddings.load(folder / "whole.safetensors")
            halves = Embeddings.load(folder / "halves.safetensors")
            row_of: Mapping[str, int] = {name: row for row, name in enumerate(whole.ids)}
            of = np.array([row_of[str(item["half_of"])] for item in halves.items], dtype=np.int64)
        except (OSError, ValueError, KeyError) as error:
            raise TrainingError(f"{folder} cannot be used ({error}): name a new folder for the adaptation") from error
        return View(whole, halves, of), labels
