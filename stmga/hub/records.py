"""Weight records: everything that the library must know about one trained weight, as one frozen object.

A record is also a file: its JSON text is the ``config.json`` beside every saved ``model.safetensors``, in a folder, in
a Hub repository and in ``stmga/weights/`` of the package. It contains the sha256 that the weights must have.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga._version import __version__
from stmga.calibration import Calibration
from stmga.config import STMGAConfig
from stmga.utils.foreign import MB, escaped, parse_json, read_regular, shown, unprintable
from stmga.utils.text import preview

if TYPE_CHECKING:
    from stmga.transforms import ClipTransform

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
CARD_FILE = "README.md"
CONFIG_LIMIT = 4 * MB  # of config.json; those of this package have 6 kB
BUNDLED = Path(__file__).parents[1] / "weights"  # one folder per weight, laid out like its Hub repository
PAPER = (
    "Multi-Granularity Aggregation with Spatiotemporal Consistency for Video-Based Person Re-Identification, "
    "Sensors 24 (2024), 2229"
)


TEXTS = (
    "name",
    "file",
    "training_data",
    "parent",
    "training_command",
    "log",
    "licence",
    "terms",
    "paper",
    "trunk_library",
)
ROWS = ("metrics", "frames", "camera_pairs", "elsewhere", "speed", "stages")  # lists of mappings, tables of the card
LINES = ("name", "file", "parent", "log", "repo_id", "trunk_library")  # texts of one line
HUB_ID = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}(?<![.-])", re.ASCII)
FILE_NAME = re.compile(r"[A-Za-z0-9_][\w.-]{0,199}", re.ASCII)
POINT = ("false_match_rate", "similarity", "true_match_rate")  # of a threshold
CAMERAS = {"query camera", "gallery camera"}  # of a pair of cameras


class WeightsError(ValueError):
    """Weights that cannot be found, read, trusted or sent; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class WeightRecord:
    """One trained weight: where it is, its digest, how it was trained and what it may be used for.

    Args:
        name: ``"architecture.tag"``, or ``""`` for a model that was saved without a name.
        config: the network and its preprocessing.
        sha256: 64 hex digits, the digest of ``file``.
        file: name of the file of weights.
        repo_id: Hub repository, ``"owner/name"``.
        revision: commit of that repository, 40 hex digits: a pinned weight never changes under its name.
        file_size: size of ``file`` in bytes; 0 if unknown.
        metrics: one mapping per result, such as ``{"data": ..., "protocol": ..., "mAP": 80.1}``.
        frames: one mapping per number of frames in a tracklet, ``{"frames": 2, "mAP": ..., "rank-1": ...,
            "thresholds": [...]}``, with thresholds as in a calibration.
        camera_pairs: one mapping for each ``"query camera"`` and ``"gallery camera"``, with ``"queries"`` and scores.
        elsewhere: results on other data sets, of similar networks that were ``"trained on"`` another data set.
        calibration: what similarities mean, measured with these weights; kept without the points of its curve.
        speed: one mapping per measurement, such as ``{"what": ..., "frames/s": 60, "processor": ..., "threads": 2}``.
        training_data: what the weights were trained on.
        stages: one mapping per training run, in order: ``"network"``, ``"data"``, ``"epochs"``, ``"seed"`` and so on.
        parent: name of the weight that these were fine-tuned from, in one run or several.
        training_command: what to type to train them again, one command per line.
        log: name of the training log beside ``file``, ``*.jsonl``, one JSON line per epoch.
        licence: licence of the weights (the code is MIT; the weights may not be).
        terms: what the training data's terms allow and forbid.
        paper: what to cite.
        trunk_library: the library that built the trunk, such as ``"timm 1.0.31"``; empty for the ResNets of stmga.
        folder: where a copy is on this machine; not part of the JSON.
    """

    name: str
    config: STMGAConfig
    sha256: str
    file: str = WEIGHTS_FILE
    repo_id: str | None = None
    revision: str | None = None
    file_size: int = 0
    metrics: tuple[Mapping[str, Any], ...] = ()
    frames: tuple[Mapping[str, Any], ...] = ()
    camera_pairs: tuple[Mapping[str, Any], ...] = ()
    elsewhere: tuple[Mapping[str, Any], ...] = ()
    calibration: Calibration | None = None
    speed: tuple[Mapping[str, Any], ...] = ()
    training_data: str = ""
    stages: tuple[Mapping[str, Any], ...] = ()
    parent: str = ""
    training_command: str = ""
    log: str = ""
    licence: str = ""
    terms: str = ""
    paper: str = PAPER
    trunk_library: str = ""
    folder: Path | None = None

    def __post_init__(self) -> None:
        for key in TEXTS:
            _demand(isinstance(getattr(self, key), str), key, "a text", getattr(self, key))
        _demand(isinstance(self.config, STMGAConfig), "config", "an STMGAConfig", self.config)
        _demand(_is_hex(self.sha256, 64), "sha256", "64 lower-case hex digits", self.sha256)
        _demand(self.revision is None or _is_hex(self.revision, 40), "revision", "40 hex digits or None", self.revision)
        _demand(self.repo_id is None or is_hub_id(self.repo_id), "repo_id", "'owner/name' or None", self.repo_id)
        _demand(type(self.file_size) is int and self.file_size >= 0, "file_size", "a number of bytes", self.file_size)
        # Plain names: a record may come from the Hub and must not point outside its folder or to its other files.
        safe = _is_plain(self.file) and self.file.endswith(".safetensors")
        _demand(safe, "file", "a plain *.safetensors name (a pickle is never read)", self.file)
        safe = not self.log or (_is_plain(self.log) and self.log.endswith(".jsonl"))
        _demand(safe, "log", "a plain *.jsonl name, or empty", self.log)
        for key in ROWS:
            rows = getattr(self, key)
            _demand(all(isinstance(row, Mapping) for row in rows), key, "a list of objects", rows)
            object.__setattr__(self, key, tuple(dict(row) for row in rows))
        self._check_rows()
        if self.calibration is not None:
            _demand(isinstance(self.calibration, Calibration), "calibration", "a Calibration or None", self.calibration)
            object.__setattr__(self, "calibration", replace(self.calibration, roc=()))
        for key in (*TEXTS, *ROWS):
            _check_texts(key, getattr(self, key), one_line=key in LINES)
        if self.calibration is not None:
            _check_texts("calibration", [self.calibration.digest, self.calibration.data], one_line=False)

    def _check_rows(self) -> None:
        """The values that the card computes with must be present, and be numbers."""
        for row in self.frames:
            points = row.get("thresholds", ())
            fine = isinstance(points, list | tuple) and all(
                isinstance(point, Mapping) and all(_is_number(point.get(key)) for key in POINT) for point in points
            )
            _demand(fine, "frames", f"rows whose thresholds have {', '.join(POINT)}", row)
        for row in self.camera_pairs:
            _demand(row.keys() >= CAMERAS, "camera_pairs", "rows with a query camera and a gallery camera", row)

    def __repr__(self) -> str:
        text = [self.name or self.repo_id or "unnamed weights", self.megabytes]
        for row in self.metrics[:1]:
            scores = ", ".join(f"{name} {row[name]}" for name in ("mAP", "rank-1") if name in row)
            text += [f"{scores} on {row['data']}" if scores and "data" in row else scores]
        return f"WeightRecord({', '.join(filter(None, text))})"

    @property
    def published(self) -> bool:
        """Whether it is on the Hub: it has a repository and a commit."""
        return self.repo_id is not None and self.revision is not None

    @property
    def megabytes(self) -> str:
        """The size of the file as text, such as ``"8.7 MB"``; empty if unknown."""
        return f"{self.file_size / 1e6:.1f} MB" if self.file_size else ""

    @property
    def arch(self) -> str:
        """The architecture's name, ``"stmga_resnet50"`` in ``"stmga_resnet50.mars"``."""
        return self.name.partition(".")[0]

    @property
    def tag(self) -> str:
        """The weight's tag, ``"mars"`` in ``"stmga_resnet50.mars"``."""
        return self.name.partition(".")[2]

    def transform(self) -> ClipTransform:
        """The preprocessing that belongs to these weights."""
        from stmga.transforms import ClipTransform

        return ClipTransform.from_config(self.config)

    def to_json(self) -> str:
        """The text of ``config.json``."""
        data: dict[str, Any] = {"library": "stmga", "version": __version__}
        data |= {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("config", "folder")}
        data["calibration"] = self.calibration and self.calibration.to_dict()
        data["config"] = self.config.to_dict()
        return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, folder: Path | None = None) -> WeightRecord:
        """Read ``config.json``. WeightsError says what is wrong and which version of the library wrote it."""
        try:
            data = parse_json(text)
        except ValueError as error:
            raise WeightsError(f"it is not valid JSON: {error}") from error
        if not isinstance(data, dict) or data.pop("library", None) != "stmga":
            raise WeightsError('it was not written by stmga: it does not say "library": "stmga"')
        version = _version(data.pop("version", "?"))
        known = {f.name for f in fields(cls)} - {"folder"}
        if unknown := sorted(set(data) - known):
            names = preview(shown(name, 40) for name in unknown)
            raise WeightsError(f"stmga {version} wrote {names}, which stmga {__version__} does not know: update stmga")
        if missing := sorted({"name", "config", "sha256"} - set(data)):
            raise WeightsError(f"it has no {', '.join(missing)}; write it again with save_pretrained")
        try:
            _demand(isinstance(data["config"], dict), "config", "an object", data["config"])
            config = STMGAConfig.from_dict(data.pop("config"), written_by=version)
            if data.get("calibration") is not None:
                data["calibration"] = Calibration.from_dict(data["calibration"])
            lists = {key: tuple(data.get(key) or ()) for key in ROWS}
            return cls(config=config, **{**data, **lists}, folder=folder)
        except (TypeError, ValueError, OverflowError) as error:
            raise WeightsError(escaped(str(error))) from error


def read_record(folder: str | Path) -> WeightRecord:
    """The record of a folder that ``save_pretrained`` made."""
    file = Path(folder) / CONFIG_FILE
    try:
        text = read_regular(file, CONFIG_LIMIT)
    except OSError as error:
        raise WeightsError(
            f"{file} cannot be read ({error.strerror}); give a folder that save_pretrained made, which holds "
            f"{CONFIG_FILE} and {WEIGHTS_FILE}."
        ) from error
    try:
        return WeightRecord.from_json(text, folder=Path(folder))
    except WeightsError as error:
        raise WeightsError(f"{file} cannot be used: {error}.") from error


def bundled_records() -> dict[str, WeightRecord]:
    """Every weight of the package, by name. Read at each call, so that importing the package reads nothing."""
    if not BUNDLED.is_dir():
        return {}
    records = [read_record(file.parent) for file in sorted(BUNDLED.glob(f"*/{CONFIG_FILE}"))]
    return {record.name: record for record in records}


def is_checkout() -> bool:
    """Whether the package is in a clone of the repository, which has the large weights that the wheel lacks."""
    return (BUNDLED.parents[1] / "pyproject.toml").is_file()


def _is_hex(text: object, digits: int) -> bool:
    return isinstance(text, str) and len(text) == digits and set(text) <= set("0123456789abcdef")


def is_hub_id(text: object) -> bool:
    r"""Whether it is an ``"owner/name"`` that the Hub allows.

    >>> is_hub_id("owner/name"), is_hub_id("../../etc"), is_hub_id("owner/name\n")
    (True, False, False)
    """
    return isinstance(text, str) and HUB_ID.fullmatch(text) is not None


def _is_plain(name: str) -> bool:
    return FILE_NAME.fullmatch(name) is not None and ".." not in name


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _version(value: object) -> str:
    """The version that wrote it; anything else is shown escaped."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.+-]{1,40}", value) else shown(value, 40)


def _check_texts(key: str, value: object, *, one_line: bool) -> None:
    """Refuse characters that act on a terminal or cannot be written: control characters, lone surrogates."""
    for text in _texts(value):
        found = unprintable(text) or (one_line and "\n" in text and r"\n") or (one_line and "\t" in text and r"\t")
        if found:
            raise WeightsError(f"{key} must not hold the character {found}, got {shown(text)}")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.items():
            yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _demand(fine: bool, key: str, expected: str, got: object) -> None:
    if not fine:
        raise WeightsError(f"{key} must be {expected}, not {shown(got)}")
