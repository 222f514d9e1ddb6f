"""The files of a saved network, in a folder or in a Hub repository: weights, record, card and log."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from stmga.hub.card import model_card
from stmga.hub.records import CARD_FILE, CONFIG_FILE, CONFIG_LIMIT, WeightRecord, WeightsError
from stmga.hub.state import builder, from_bytes, to_bytes, unwrapped
from stmga.utils.foreign import MB, inside, read_regular

if TYPE_CHECKING:
    from stmga.model import STMGA

CARD_LIMIT = 4 * MB
LOG_LIMIT = 256 * MB


def folder_contents(folder: Path, record: WeightRecord) -> dict[str, bytes]:
    """The files of a saved folder, name to bytes: only those that its record names.

    Raises:
        WeightsError: one is missing, is a link out of the folder or not a regular file, or does not match the record.
    """
    if not os.path.lexists(folder / CARD_FILE):
        raise WeightsError(f"{folder} has no {CARD_FILE}, the model card; save_pretrained writes one.")
    limits = {CONFIG_FILE: CONFIG_LIMIT, record.file: record.file_size or 1 << 62, CARD_FILE: CARD_LIMIT}
    if record.log and os.path.lexists(folder / record.log):
        limits[record.log] = LOG_LIMIT
    found = {name: _own_file(folder, name, limit) for name, limit in limits.items()}
    if digest_of(found[record.file]) != record.sha256:
        raise WeightsError(f"{folder / record.file} changed while it was read; try again.")
    return found


def contents(
    model: nn.Module, record: WeightRecord | None, repo_id: str | None = None, half: bool | None = None
) -> dict[str, bytes]:
    """The files of a saved model, name to bytes.

    Raises:
        WeightsError: not an STMGA, a record of another network, or a log that is not a file in its folder.
    """
    model = unwrapped(model)
    build = builder(model, copied=True)
    data = to_bytes(model, half=bool(half))
    if half is None and model.record is not None and model.record.file_size < len(data):
        rounded = to_bytes(model, half=True)
        same_file = digest_of(rounded) == model.record.sha256
        if same_file and to_bytes(from_bytes(rounded, model.config, "it", build=build)) == data:
            data = rounded  # the file it came from; no change is lost by rounding
    sha256 = digest_of(data)
    record = _own_record(model, sha256) if record is None else record
    if record.config != model.config:
        raise WeightsError(
            "the record's config is not the model's; give dataclasses.replace(record, config=model.config)."
        )
    library = record.trunk_library or str(model.backbone.library)
    record = replace(record, sha256=sha256, file_size=len(data), trunk_library=library)
    measured = record.calibration and record.calibration.digest
    if measured and measured != from_bytes(data, record.config, record.file, build=build).digest():
        raise WeightsError(
            "the record's calibration was measured with other weights than these; measure it with the file as it is "
            "loaded (half precision rounds), or give dataclasses.replace(record, calibration=None)."
        )
    if repo_id is not None:
        record = replace(record, repo_id=repo_id, revision=None)
    # The log is saved with the weights, if the run has written one.
    has_log = bool(record.folder and record.log and os.path.lexists(record.folder / record.log))
    logs = {record.log: _own_file(record.folder, record.log, LOG_LIMIT)} if record.folder and has_log else {}
    return {record.file: data, CONFIG_FILE: record.to_json().encode(), CARD_FILE: model_card(record).encode(), **logs}


def _own_record(model: STMGA, sha256: str) -> WeightRecord:
    old = model.record
    if old is None:
        return WeightRecord(name="", config=model.config, sha256=sha256)
    if old.sha256 == sha256:
        return old
    start = f"Started from {old.name or old.repo_id or 'weights without a name'}. {old.training_data}".strip()
    return WeightRecord(
        name="",
        config=model.config,
        sha256=sha256,
        training_data=start,
        stages=old.stages,
        parent=old.name or old.repo_id or old.parent,
        licence=old.licence,
        terms=old.terms,
    )


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _own_file(folder: Path, name: str, limit: int) -> bytes:
    """A file of a folder that is to be copied or sent. Links out of the folder are refused."""
    if not inside(folder, name):
        raise WeightsError(
            f"{folder / name} is a link out of its folder, and what it points to would be copied or published. Put the "
            "file itself there."
        )
    try:
        return read_regular(folder / name, limit)
    except OSError as error:
        raise WeightsError(f"{folder / name} cannot be read ({error.strerror}).") from error
