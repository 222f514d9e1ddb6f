"""What a run leaves behind: its table, the record of its weights, and curves for TensorBoard where wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stmga.data.benchmark import Benchmark
from stmga.model import STMGA
from stmga.records import WeightRecord
from stmga.train.config import TrainConfig
from stmga.train.objective import term_names

SCORES = ("mAP", "rank-1", "rank-5", "rank-10", "rank-20", "mINP")


@dataclass(frozen=True)
class Result:
    """A finished run: its ``folder``, the ``log`` (a row an epoch), and the ``best`` validation, empty without one."""

    folder: Path
    log: list[dict[str, Any]]
    best: dict[str, Any]

    def table(self) -> str:
        """Every term of the loss in the first and the last epoch, and the scores of the last and the best."""
        from stmga.report import text_table

        first, last = self.log[0], self.log[-1]
        rows = [
            [name, f"{first['loss'][name]:.3f}", f"{last['loss'][name]:.3f}"] for name in term_names(list(last["loss"]))
        ]
        text = text_table(("loss", f"epoch {first['epoch']}", f"epoch {last['epoch']}"), rows)
        if self.best:
            final = last.get("validation", {})
            scores = [
                [name, f"{100 * final[name]:.1f}" if name in final else None, f"{100 * self.best[name]:.1f}"]
                for name in SCORES
            ]
            header = ("validation, %", f"epoch {last['epoch']}", f"best, epoch {self.best['epoch']}")
            text += "\n\n" + text_table(header, scores)
        return text


def weight_record(
    model: STMGA,
    benchmark: Benchmark,
    config: TrainConfig,
    epochs: int,
    scores: Mapping[str, float] | None,
    started_from: str,
    terms: str = "",
    taught_by: str = "",
) -> WeightRecord:
    """The record of a run's weights: what they were trained on, how they scored by which protocol, and all terms."""
    persons = len({t.person for t in benchmark.train})
    trained = (
        f"{benchmark.name}: {len(benchmark.train):,} tracklets of {persons:,} persons, "
        f"{epochs} of {config.epochs} epochs, seed {config.seed}"
    )
    metrics: list[dict[str, Any]] = []
    if scores:
        figures = {name: round(100 * scores[name], 2) for name in SCORES if name in scores}
        tested_on = benchmark.protocol.data or benchmark.name  # the test may be another set's
        metrics.append({"data": tested_on, **figures, "protocol": benchmark.protocol.describe()})
    every = [terms, model.record.terms if model.record else "", benchmark.terms]
    return WeightRecord(
        name="",
        config=model.config,
        sha256="0" * 64,  # filled in when it is saved
        metrics=tuple(metrics),
        training_data=trained
        + (f"; started from {started_from}" if started_from else "")
        + (f"; taught by {taught_by}" if taught_by else ""),
        terms="; ".join(dict.fromkeys("; ".join(filter(None, every)).split("; "))),
    )


@contextmanager
def board(folder: Path, wanted: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Gives what draws a row of the log for TensorBoard, or does nothing; a row drawn again replaces the old one."""
    if not wanted:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError('tensorboard is not installed: pip install "stmga[tensorboard]"') from error
    writer: Any = None

    def draw(row: Mapping[str, Any]) -> None:
        nonlocal writer
        if writer is None:  # the first row of this process: what was drawn from here on before it was killed goes
            writer = SummaryWriter(str(folder / "tensorboard"), purge_step=row["epoch"])
        values = {f"loss/{name}": value for name, value in row["loss"].items()}
        values |= {f"validation/{name}": value for name, value in row.get("validation", {}).items()}
        for name, value in (values | {"lr": row["lr"], "grad_norm": row["grad_norm"]}).items():
            writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    try:
        yield draw
    finally:
        if writer is not None:
            writer.close()
