"""Fuzzing of JSON records: of weights as their cards show them, of runs, packs, pieces and input files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stmga.data.packing import about_pack, pack
from stmga.embedding.resumable import CLAIM as PIECES
from stmga.embedding.resumable import PiecesError
from stmga.hub.card import model_card
from stmga.hub.metadata import card_data
from stmga.hub.records import BUNDLED, WeightRecord, WeightsError
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.train import train
from stmga.train.continuation import Stage
from stmga.train.distillation import Teacher, TeacherError, teacher_vectors
from stmga.train.errors import TrainingError
from stmga.train.run_folder import RunFolder
from tests.support.fuzz.formats import Example, Format
from tests.support.fuzz.mutations import changed_bytes, changed_json
from tests.support.tracklets import noise
from tests.support.train import BASELINE, QUICK, little_benchmark, tiny


class Records(Format):
    """Each kind is a file of a folder that is otherwise whole."""

    name = "records"
    errors = (WeightsError, TrainingError, PiecesError, TrackletError, TeacherError, ValueError)
    names = escapes = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        images = [noise(folder / f"{i}.png", i) is not None and folder / f"{i}.png" for i in (1, 2)]
        self.tracklets = [Tracklet("a", images, person=1, camera=2), Tracklet("b", images[:1], camera="door")]
        self.inputs = InputRecord(self.tracklets, contents=True)
        self.pack, self.run, self.pieces = folder / "pack", folder / "run", folder / "e.parts"
        pack(self.tracklets, self.pack, shard_bytes=1, workers=1)
        self.side = (self.pack / "manifest.jsonl").read_bytes().splitlines(keepends=True)
        train(tiny(0, BASELINE), little_benchmark(), replace(QUICK, epochs=1, steps=1), self.run)
        self.asked = json.loads((self.run / "run.json").read_bytes())
        self._write_teacher()
        self.about = {"weights": "a" * 64, "tracklets": 2, "piece": 256, "options": {"flip": False}}
        self.pieces.mkdir()
        texts = {
            "card": (BUNDLED / "stmga_resnet18_c4.market_cuhk03" / "config.json").read_bytes(),
            "pack.json": (self.pack / "pack.json").read_bytes(),
            "protocol.json": (self.pack / "protocol.json").read_bytes(),
            "run.json": (self.run / "run.json").read_bytes(),
            "log.jsonl": (self.run / "log.jsonl").read_bytes(),
            "about.json": json.dumps(self.about).encode(),
            "inputs": self.inputs.to_bytes(),
            "teacher": json.dumps(self.taught).encode(),
            "shard-00000.jsonl": self.side[0],
        }
        self.seeds = [(kind, [json.loads(row) for row in _rows(kind, data)]) for kind, data in texts.items()]

    def examples(self) -> st.SearchStrategy[Example]:
        return st.sampled_from(self.seeds).flatmap(lambda seed: st.tuples(st.just(seed[0]), _changed(seed[1])))

    def read(self, kind: str, data: bytes) -> Any:
        return getattr(self, "_" + kind.split(".")[0].split("-")[0])(data)

    def _card(self, data: bytes) -> str:
        record = WeightRecord.from_json(data)
        card_data(record).to_yaml()
        again = WeightRecord.from_json(record.to_json())
        assert again == replace(record, folder=None)
        return model_card(record)

    def _pack(self, data: bytes) -> Path:
        (self.pack / "pack.json").write_bytes(data)
        return pack(self.tracklets, self.pack, shard_bytes=1, workers=1)

    def _protocol(self, data: bytes) -> str:
        (self.pack / "protocol.json").write_bytes(data)
        return str(about_pack(self.pack))

    def _shard(self, data: bytes) -> Path:
        """A pack that was killed after its first shard."""
        for file in self.pack.glob("*.jsonl"):
            file.unlink()
        (self.pack / "pack.json").unlink()
        for file in self.pack.iterdir():
            file.unlink() if file.is_file() else None
        pack(self.tracklets, self.pack, shard_bytes=1, workers=1)
        (self.pack / "manifest.jsonl").unlink()
        (self.pack / "shard-00000.jsonl").write_bytes(data)
        return pack(self.tracklets, self.pack, shard_bytes=1, workers=1)

    def _run(self, data: bytes) -> str:
        """Resumed, and continued from."""
        (self.run / "run.json").write_bytes(data)
        stage = Stage.of(self.run)
        with RunFolder(self.run, self.asked):
            return stage.words

    def _log(self, data: bytes) -> list[dict[str, Any]]:
        (self.run / "run.json").write_text(json.dumps(self.asked))
        (self.run / "log.jsonl").write_bytes(data)
        with RunFolder(self.run, self.asked) as folder:
            folder.rewind(1)
            return folder.lines()

    def _about(self, data: bytes) -> bool:
        (self.pieces / "about.json").write_bytes(data)
        return PIECES.check(self.pieces, self.about)

    def _write_teacher(self) -> None:
        file = self.folder / "teacher.safetensors"
        teacher_vectors(tiny(0, BASELINE), self.tracklets, file)
        with safe_open(file, framework="pt") as opened:
            ((self.key, text),) = opened.metadata().items()
        self.taught, self.vectors = json.loads(text), load_file(file)

    def _teacher(self, data: bytes) -> Any:
        """A file of a teacher's vectors, which says other things about itself."""
        file = self.folder / "taught.safetensors"
        save_file(self.vectors, file, {self.key: data.decode("utf-8", "replace")})
        return Teacher(file, self.tracklets).about()

    def _inputs(self, data: bytes) -> str:
        """A record is compared, and never an error by itself."""
        try:
            return self.inputs.difference(data)
        except self.errors as error:
            raise AssertionError(repr(error)) from error


def _rows(kind: str, data: bytes) -> list[bytes]:
    return data.splitlines() if kind.endswith("jsonl") or kind == "inputs" else [data]


def _changed(rows: list[Any]) -> st.SearchStrategy[bytes]:
    """One of the rows changed, or another number of them."""
    lines = [json.dumps(row) for row in rows]

    def text(drawn: tuple[int, str, int]) -> bytes:
        at, line, count = drawn
        return "\n".join([*lines[:at], line, *lines[at + 1 :]][:count]).encode("utf-8", "surrogatepass")

    places = st.integers(0, len(rows) - 1)
    whole = places.flatmap(
        lambda at: st.tuples(st.just(at), changed_json(rows[at], rows), st.sampled_from([len(rows), len(rows), 1]))
    ).map(text)
    return st.one_of(whole, whole, whole.flatmap(changed_bytes))
