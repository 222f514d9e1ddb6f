"""The results of a run: its table, the record of its weights, and optional curves for TensorBoard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stmga.config import ARCHITECTURES, STMGAConfig
from stmga.data.benchmark import Benchmark
from stmga.hub.records import WeightRecord
from stmga.model import STMGA
from stmga.train.config import TrainConfig
from stmga.train.objective import term_names
from stmga.utils.text import counted

SCORES = ("mAP", "rank-1", "rank-5", "rank-10", "rank-20", "mINP")


@dataclass(frozen=True)
class Result:
    """A finished run: ``folder``, ``log`` (one row per epoch), and the ``best`` validation, empty without one."""

    folder: Path
    log: list[dict[str, Any]]
    best: dict[str, Any]

    def __repr__(self) -> str:
        text = [f"{str(self.folder)!r}, {counted(len(self.log), 'epoch')}"]
        text += [f"loss {self.log[-1]['loss']['total']:.3f}"] if self.log else []
        if self.best:
            scores = ", ".join(f"{name} {100 * self.best[name]:.1f} %" for name in SCORES[:2])
            text += [f"best {scores} in epoch {self.best['epoch']}"]
        return f"Result({', '.join(text)})"

    def table(self) -> str:
        """Every term of the loss in the first and the last epoch, and the scores of the last and the best."""
        from stmga.utils.text import text_table

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
    """The record of a run's weights: training data, scores with their protocol, and all terms.

    ``model.record`` is that of the initial weights; its data, stages, terms and licence are carried over.
    """
    data = data_of(benchmark)
    stage = _stage(model.config, data, f"{epochs} of {config.epochs}", config.seed, start_of(model, started_from))
    if taught_by:
        stage["teacher"] = taught_by
    found = derived_record(model, stage, trained_on(data), terms=(terms, benchmark.terms))
    if not scores:
        return found
    figures = {name: round(100 * scores[name], 2) for name in SCORES if name in scores}
    tested_on = benchmark.protocol.data or benchmark.name  # the test may be another set's
    return replace(found, metrics=({"data": tested_on, **figures, "protocol": benchmark.protocol.describe()},))


def derived_record(
    model: STMGA, stage: Mapping[str, Any], data: str, *, terms: Sequence[str] = (), start: str = ""
) -> WeightRecord:
    """The record of weights made from others, whose record is ``model.record``: it carries over, and a stage is added.

    Args:
        model: the new weights, with the record of those before.
        stage: the row of what was done.
        data: what it was done with. terms: of that data and of others that were involved.
        start: what the weights before are called, if their record has no name.
    """
    parent = model.record or WeightRecord(name="", config=model.config, sha256="0" * 64)
    name = parent.name or parent.repo_id or ""
    before = f"{name or start}: {parent.training_data}" if name or start else parent.training_data
    return WeightRecord(
        name="",
        config=model.config,
        sha256="0" * 64,  # filled in when it is saved
        training_data=_once(data, before),
        stages=(*parent.stages, stage),
        parent=name or parent.parent,
        licence=parent.licence,
        terms=_once(parent.terms, *terms),
    )


def start_of(model: STMGA, started_from: str) -> str:
    """What the weights before a stage are called in its row: the stage before, or their name."""
    if model.record is None:
        return started_from
    name = model.record.name or model.record.repo_id or "weights without a name"
    return f"stage {len(model.record.stages)}" if model.record.stages else name


def data_of(benchmark: Benchmark) -> dict[str, Any]:
    """The name of a training set, and the numbers of its tracklets and persons."""
    persons = len({t.person for t in benchmark.train})
    return {"name": benchmark.name, "tracklets": len(benchmark.train), "persons": persons}


def stage_of_run(asked: Mapping[str, Any], epoch: int, start: str) -> dict[str, Any]:
    """A run as a row of a record: the settings in its ``run.json``, its finished epochs, and its initial weights."""
    net, train = STMGAConfig.from_dict(asked["network"]), asked["train"]
    return _stage(net, asked["data"], f"{epoch} of {train['epochs']}", train["seed"], start)


def trained_on(data: Mapping[str, Any]) -> str:
    """A data set by its name, with the numbers of its tracklets and persons."""
    return f"{data['name']}: {data['tracklets']:,} tracklets of {data['persons']:,} persons"


def _stage(net: STMGAConfig, data: Mapping[str, Any], epochs: str, seed: int, start: str) -> dict[str, Any]:
    """A row of a record's stages; its input is frames x height x width."""
    return {
        **row_of(net, data),
        "epochs": epochs,
        "seed": seed,
        "started from": start.removeprefix(f"{architecture(net)}, ") or "not stated",
    }


def row_of(net: STMGAConfig, data: Mapping[str, Any]) -> dict[str, Any]:
    """How the row of a stage begins: the network, its input, and the data."""
    counts = {key: data[key] for key in ("tracklets", "persons")}
    return {"network": architecture(net), "input": net.clip_shape, "data": data["name"], **counts}


def architecture(net: STMGAConfig) -> str:
    """The name of the network, whatever its input; if it has none, its trunk."""
    known = {replace(own, size=net.size, clip_length=net.clip_length): name for name, own in ARCHITECTURES.items()}
    return known.get(replace(net, whitening=False), f"{net.backbone} {net.stage}, other settings")


def _once(*texts: str) -> str:
    """Texts joined into one, without repeated clauses."""
    return "; ".join(dict.fromkeys("; ".join(filter(None, texts)).split("; ")))


@contextmanager
def tensorboard_writer(folder: Path, *, wanted: bool) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """A function that writes a row of the log for TensorBoard; a row written again replaces the old one.

    Without ``wanted`` the function does nothing.
    """
    if not wanted:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError('tensorboard is not installed: pip install "stmga[tensorboard]"') from error
    writer: Any = None

    def write(row: Mapping[str, Any]) -> None:
        nonlocal writer
        if writer is None:  # the first row of this process: later rows of a run that was killed are removed
            writer = SummaryWriter(str(folder / "tensorboard"), purge_step=row["epoch"])
        values = {f"loss/{name}": value for name, value in row["loss"].items()}
        values |= {f"validation/{name}": value for name, value in row.get("validation", {}).items()}
        for name, value in (values | {"lr": row["lr"], "grad_norm": row["grad_norm"]}).items():
            writer.add_scalar(name, value, row["epoch"])
        writer.flush()

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
