"""The metadata of a model card: what the Hub filters by, and the figures that it shows beside the card."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from stmga.hub.records import WeightRecord, is_hub_id

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCardData

TASK = "image-feature-extraction"  # the Hub's task for networks that turn images into vectors
TASK_NAME = "video-based person re-identification"
TAGS = ("person-re-identification", "video", "stmga", "pytorch")
FIGURES = ("mAP", "rank-1")  # of a result; the card's table has the others too
# Identifiers that the Hub knows; any other licence is written as "other" with its own name.
HUB_LICENCES = {
    "mit", "apache-2.0", "bsd-3-clause", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0",
}  # fmt: skip


def card_data(record: WeightRecord) -> ModelCardData:
    """The metadata of a weight's card; keys that the record does not have are left out.

    >>> from stmga.config import ARCHITECTURES
    >>> metrics = ({"data": "MARS", "mAP": 80.1, "protocol": "official"},)
    >>> config = ARCHITECTURES["stmga_resnet18_c4"]
    >>> data = card_data(WeightRecord(name="stmga_resnet18_c4.a", config=config, sha256="0" * 64, metrics=metrics))
    >>> [(r.dataset_name, r.metric_type, r.metric_value) for r in data.eval_results]
    [('MARS', 'mAP', 80.1)]
    """
    from huggingface_hub import ModelCardData  # slow to import, and needed only here

    licence, name = _licence(record.licence)
    results = list(_results(record))
    return ModelCardData(
        library_name="stmga",
        pipeline_tag=TASK,
        license=licence,
        license_name=name,
        tags=list(TAGS),
        base_model=record.parent if is_hub_id(record.parent) else None,  # a plain name is unknown to the Hub
        datasets=_training_sets(record) or None,
        metrics=[f for f in FIGURES if any(r.metric_type == f for r in results)] or None,
        model_name=title(record) if results else None,
        eval_results=results or None,
    )


def title(record: WeightRecord) -> str:
    """The display name of the weights."""
    return " ".join(record.name.split()) or (record.repo_id or "").rpartition("/")[2] or "An STMGA model"


def _licence(licence: str) -> tuple[str | None, str | None]:
    """The Hub's identifier, and the name that goes with "other"."""
    if not licence or licence.lower() in HUB_LICENCES:
        return licence.lower() or None, None
    return "other", " ".join(licence.removeprefix("other:").split())


def _training_sets(record: WeightRecord) -> list[str]:
    """Every data set that any stage was trained on, once. A stage joins the names of several with ``+``."""
    names = [name for stage in record.stages for name in str(stage.get("data", "")).split(" + ")]
    return [name for name in dict.fromkeys(map(_identifier, names)) if name]


def _results(record: WeightRecord) -> Iterator[EvalResult]:
    """The figures of the record, each with its data set and protocol."""
    from huggingface_hub import EvalResult

    names = [_line(row.get("data", "not stated")) for row in record.metrics]
    for name, row in zip(names, record.metrics, strict=True):
        for figure in FIGURES:
            if figure in row:
                yield EvalResult(
                    task_type=TASK,
                    task_name=TASK_NAME,
                    dataset_type=_data_type(name, names),
                    dataset_name=name,
                    metric_type=figure,
                    metric_name=figure,
                    metric_value=row[figure],
                    # Given for the metric, not the data set: the Hub's format merges results on one data set.
                    metric_args={"protocol": _line(row["protocol"])} if "protocol" in row else None,
                )


def _line(text: object) -> str:
    """One line: a line break could end the metadata."""
    return " ".join(str(text).split())


def _data_type(name: str, names: list[str]) -> str:
    """The identifier of a data set. Text in brackets is dropped unless another of ``names`` differs only in it.

    >>> _data_type("MARS (half)", ["MARS (half)"]), _data_type("MARS (half)", ["MARS (half)", "MARS"])
    ('MARS', 'MARS-half')
    """
    short = _identifier(name.partition(" (")[0])
    alone = all(other == name for other in names if _identifier(other.partition(" (")[0]) == short)
    return (short if alone else _identifier(name)) or name


def _identifier(name: str) -> str:
    """A name reduced to the characters of the Hub's identifiers; may be empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.")
