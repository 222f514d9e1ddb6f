"""Every command that writes for long: killed at random moments it ends with the same bytes and leaves nothing behind.

The short form; ``python -m tests.support.kills FOLDER`` kills each 20 times.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stmga import STMGA
from stmga.data.walkers.generate import write_benchmark
from tests.support.cli import SMALL, TINY
from tests.support.kills import contents, kill_and_resume, run

STMGA_COMMAND = [sys.executable, "-m", "stmga"]
INDEX = """
import sys, stmga
from stmga.gallery import GalleryIndex
vectors = stmga.Embeddings.load(sys.argv[1])
GalleryIndex(stmga.Gallery(vectors)).save(sys.argv[2])
"""


def prepare(root: Path) -> Path:
    """A network, walkers and vectors for all commands."""
    torch.manual_seed(0)
    STMGA(TINY).eval().save_pretrained(root / "tiny")
    write_benchmark(root / "data", 6, 4, size=(64, 32), frames=4, cameras=2)
    return root


def _embed(source: Path, out: Path) -> list[str]:
    data, model = str(source / "data/manifest.jsonl"), str(source / "tiny")
    return [*STMGA_COMMAND, "embed", data, "--model", model, "-o", str(out / "v.safetensors"), "-q"]


def _teacher(source: Path, out: Path) -> list[str]:
    data = ["--data", str(source / "data/manifest.jsonl")]
    return [*STMGA_COMMAND, "teacher", str(source / "tiny"), *data, "-o", str(out / "t.safetensors"), "-q"]


def _train(source: Path, out: Path) -> list[str]:
    data, start = str(source / "data/manifest.jsonl"), str(source / "tiny")
    return [*STMGA_COMMAND, "train", "--data", data, "--from", start, "-o", str(out / "run"), *SMALL]


def _pack(source: Path, out: Path) -> list[str]:
    return [*STMGA_COMMAND, "pack", str(source / "data/manifest.jsonl"), str(out / "pack"), "-q"]


def _export(source: Path, out: Path) -> list[str]:
    return [*STMGA_COMMAND, "export", "--model", str(source / "tiny"), "-o", str(out / "m.pt2")]


def _index(source: Path, out: Path) -> list[str]:
    vectors = source / "v.safetensors"
    if not vectors.exists():
        done = run(_embed(source, source))
        assert done.returncode == 0, done.stderr
    return [sys.executable, "-c", INDEX, str(vectors), str(out / "i.safetensors")]


COMMANDS: dict[str, Callable[[Path, Path], list[str]]] = {
    "embed": _embed, "teacher": _teacher, "train": _train, "pack": _pack, "export": _export, "index": _index
}  # fmt: skip


def comparable(folder: Path) -> dict[str, bytes]:
    """The files; of a log without what depends on the clock. Other files that hold times are compared by name."""
    found = contents(folder)
    for name, data in found.items():
        if name.endswith("log.jsonl"):
            rows = [json.loads(line) for line in data.splitlines()]
            found[name] = json.dumps([(row["epoch"], row["loss"]) for row in rows]).encode()
        elif "run" in Path(name).parts and not name.endswith(("model.safetensors", "run.json")):
            found[name] = b""  # cards, records and the checkpoint say how long it took
    return found


def check(name: str, source: Path, root: Path, kills: int) -> None:
    whole, killed = kill_and_resume(lambda out: COMMANDS[name](source, out), root, kills)
    ours, theirs = comparable(killed), comparable(whole)
    assert sorted(ours) == sorted(theirs), "nothing more and nothing less"
    assert [path for path in ours if ours[path] != theirs[path]] == []


@pytest.fixture(scope="module", name="source")
def source_fixture(tmp_path_factory):
    return prepare(tmp_path_factory.mktemp("kills"))


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
@pytest.mark.parametrize("name", COMMANDS)
def test_two_kills_and_the_same_bytes(source, tmp_path, name):
    if name == "index" and importlib.util.find_spec("faiss") is None:
        pytest.skip("needs faiss")
    check(name, source, tmp_path, 2)
