"""Saved folders and exported files with random damage: loaded, or refused with the documented error, and no other."""

from __future__ import annotations

import copy
import json
import os
import random
import zipfile

import pytest

from stmga import STMGA
from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel
from stmga.hub.records import WeightsError
from tests.support.hub import sha256, tiny

ROUNDS = int(os.environ.get("STMGA_FUZZ_ROUNDS", "60"))  # thousands, to look for more
ODD = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**40,
    0.5,
    -0.0,
    1e308,
    "",
    "x",
    "\0",
    "\x1b[2J",
    "\ud800",
    "a/../b",
    "1",
    [],
    [[]],
    [1],
    ["x"] * 3,
    {},
    {"a": 1},
    {"a": {"b": []}},
    "x" * 10**4,
    [1] * 10**4,
)


def odd_json(value, rng: random.Random):
    """The same JSON with one to three values, keys or entries changed."""
    text = json.dumps(value)
    value = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        place, key = value, None
        while isinstance(place, dict | list) and len(place):
            parent, key = place, rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
            place = parent[key]
            if rng.random() < 0.3:
                break
        if key is None:
            continue
        act = rng.random()
        if act < 0.15:
            del parent[key]
        elif act < 0.25 and isinstance(parent, dict):
            parent[rng.choice(("evil", "\x1b", "", "config", "a" * 300))] = copy.deepcopy(rng.choice(ODD))
        else:
            parent[key] = copy.deepcopy(rng.choice(ODD))
    return value


def damaged(data: bytes, rng: random.Random) -> bytes:
    """The same bytes with some changed, cut, doubled or put in."""
    changed = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at = rng.randrange(max(1, min(len(changed), rng.choice((16, 500, 10**9)))))
        act = rng.random()
        if act < 0.6 and changed:
            changed[at] = rng.choice((0, 255, 34, 123, 91, rng.randrange(256)))
        elif act < 0.75:
            del changed[at : at + rng.randint(1, 100)]
        elif act < 0.9:
            changed[at:at] = bytes(rng.randrange(256) for _ in range(rng.randint(1, 20)))
        else:
            del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def loads_or_is_refused(folder) -> None:
    try:
        STMGA.from_pretrained(folder).save_pretrained(folder / "again")
    except WeightsError as error:
        check_text(error)


def check_text(error: Exception) -> None:
    assert len(str(error)) < 1500 and "\x1b" not in str(error)


@pytest.mark.parametrize("seed", range(4))
def test_records(files, tmp_path, seed):
    rng = random.Random(seed)
    (tmp_path / "model.safetensors").write_bytes(files["model.safetensors"])
    for i in range(ROUNDS):
        text = json.dumps(odd_json(json.loads(files["config.json"]), rng)).encode()
        (tmp_path / "config.json").write_bytes(damaged(text, rng) if i % 3 == 0 else text)
        loads_or_is_refused(tmp_path)


@pytest.mark.parametrize("seed", range(4))
def test_weights(files, tmp_path, seed):
    rng = random.Random(seed)
    data = files["model.safetensors"]
    size = 8 + int.from_bytes(data[:8], "little")
    for i in range(ROUNDS):
        if i % 2:
            header = json.dumps(odd_json(json.loads(data[8:size]), rng)).encode()
            weights = len(header).to_bytes(8, "little") + header + data[size:]
        else:
            weights = damaged(data[:size], rng) + data[size:]
        record = json.loads(files["config.json"]) | {"sha256": sha256(weights), "file_size": len(weights)}
        (tmp_path / "model.safetensors").write_bytes(weights)
        (tmp_path / "config.json").write_text(json.dumps(record))
        loads_or_is_refused(tmp_path)


def test_exported_programs(tmp_path):
    export(tiny(), tmp_path / "good.pt2")
    with zipfile.ZipFile(tmp_path / "good.pt2") as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    lists = [name for name in members if name.endswith(("_config.json", "extra/stmga"))]
    rng, path = random.Random(0), tmp_path / "bad.pt2"
    for i in range(ROUNDS):
        name = rng.choice(lists)
        changed = json.dumps(odd_json(json.loads(members[name]), rng)).encode()
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in (members | {name: changed}).items():
                archive.writestr(member, data)
        if i % 2:
            path.write_bytes(damaged(path.read_bytes(), rng))
        try:
            ExportedModel(path)
        except ValueError as error:
            check_text(error)
