"""Fuzzing of a folder of weights: its ``config.json``, and its safetensors file under a true digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from stmga import STMGA, TrackletEmbedder
from stmga.hub.records import BUNDLED, CONFIG_FILE, WEIGHTS_FILE, WeightsError, read_record
from tests.support.embedder import pixels
from tests.support.fuzz.formats import Example, Format
from tests.support.fuzz.mutations import changed_bytes, changed_json, changed_safetensors
from tests.support.hub import sha256, tiny

BACKBONES = [
    "resnet18",
    "resnet50",
    "c4",
    "c5",
    "none",
    "stripes",
    [1, 2, 4],
    [1],
    64,
    1024,
    4096,
    [8, 4],
    [4096, 4096],
    [0.5] * 3,
]


class Config(Format):
    """A full record, as one of the package: results, calibration, stages, texts."""

    name = "config"
    errors = (WeightsError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tiny().save_pretrained(folder)
        self.saved = json.loads((folder / CONFIG_FILE).read_text())
        self.files = {file.name for file in folder.iterdir()}
        rich = json.loads((BUNDLED / "stmga_resnet18_c4.market_cuhk03" / CONFIG_FILE).read_text())
        rich["calibration"]["digest"] = STMGA.from_pretrained(folder).digest()
        own = ("config", "sha256", "file", "file_size", "name", "repo_id", "revision", "log")
        self.rich = rich | {key: self.saved[key] for key in own}

    def examples(self) -> st.SearchStrategy[Example]:
        record = st.sampled_from([self.rich, self.saved])
        parts = st.sampled_from(["config", "calibration", "config", ""])
        pool = [*BACKBONES, self.saved["config"], self.rich["calibration"], [{"a": 1, "b": None}]]
        text = st.tuples(record, parts).flatmap(lambda drawn: _changed_part(*drawn, pool))
        data = text.map(lambda found: found.encode("utf-8", "surrogatepass"))
        return st.tuples(st.just(CONFIG_FILE), st.one_of(data, data, data.flatmap(changed_bytes)))

    def read(self, kind: str, data: bytes) -> STMGA:
        (self.folder / kind).write_bytes(data)
        return STMGA.from_pretrained(self.folder)

    def use(self, found: Any) -> None:
        """It embeds, and what it is saved as has the same record; one with the calibration of others is not saved."""
        vectors = TrackletEmbedder(found)({"a": pixels(2, 0)}).vectors
        assert torch.allclose(vectors.norm(dim=1), torch.ones(1), atol=1e-4)
        known = found.record.calibration
        if known is not None and known.digest != found.digest():
            return
        found.save_pretrained(self.folder / "again")
        assert read_record(self.folder / "again").config == found.config


def _changed_part(record: dict[str, Any], part: str, pool: list[Any]) -> st.SearchStrategy[str]:
    if not isinstance(record.get(part), dict):
        return changed_json(record, pool)
    rest = json.dumps({key: value for key, value in record.items() if key != part})
    return changed_json(record[part], pool).map(lambda text: f'{rest[:-1]}, "{part}": {text}}}')


class Weights(Format):
    """The safetensors file; the record names its digest and size, as a stranger's would."""

    name = "weights"
    errors = (WeightsError,)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        tiny().save_pretrained(folder)
        self.record = json.loads((folder / CONFIG_FILE).read_text())
        data = (folder / WEIGHTS_FILE).read_bytes()
        start = 8 + int.from_bytes(data[:8], "little") + 600
        self.head, self.tail = data[:start], data[start:]  # Hypothesis would keep many copies of the whole

    def examples(self) -> st.SearchStrategy[Example]:
        kinds = st.sampled_from(["whole", "whole", "whole", "cut", "longer"])
        return st.tuples(kinds, changed_safetensors(self.head, tail=len(self.tail)))

    def read(self, kind: str, data: bytes) -> STMGA:
        data += {"whole": self.tail, "cut": self.tail[: len(self.tail) // 2], "longer": self.tail + b"\0"}[kind]
        (self.folder / WEIGHTS_FILE).write_bytes(data)
        record = self.record | {"sha256": sha256(data), "file_size": len(data)}
        (self.folder / CONFIG_FILE).write_text(json.dumps(record))
        return STMGA.from_pretrained(self.folder)

    def use(self, found: Any) -> None:
        found.save_pretrained(self.folder / "again")
        STMGA.from_pretrained(self.folder / "again")
