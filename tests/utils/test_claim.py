"""Claimed folders: new ones are taken, those of the same call are resumed, all others are left as they are."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from stmga.tracklets.inputs import InputRecord
from stmga.utils.claim import FolderClaim


def take(folder: str | Path, about: dict[str, Any]) -> bool:
    with CLAIM.hold(folder, about) as known:
        return known


class OtherRunError(RuntimeError):
    pass


CLAIM = FolderClaim(
    file="run.json",
    what="a run",
    other="is another run",
    resume="Name a new folder, or use {folder}/last",
    named={"data": "the data differ"},
    error=OtherRunError,
)
ABOUT: dict[str, Any] = {"lr": 0.1, "size": (64, 32), "net": {"dim": 8, "trunk": "r18"}, "data": "f" * 64}


def contents(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def refused(folder: Path, about: dict[str, Any] = ABOUT) -> str:
    """What `hold` and `check` both say; neither changes anything."""
    before = contents(folder if folder.is_dir() else folder.parent)
    with pytest.raises(OtherRunError) as taken:
        take(folder, about)
    with pytest.raises(OtherRunError) as checked:
        CLAIM.check(folder, about)
    assert contents(folder if folder.is_dir() else folder.parent) == before and str(taken.value) == str(checked.value)
    return str(taken.value)


def test_a_new_an_empty_and_a_claimed_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "a/b", tmp_path / "empty"):
        assert not CLAIM.check(folder, ABOUT) and not (folder / "run.json").exists()
        assert not take(folder, ABOUT)
        assert json.loads((folder / "run.json").read_text()) == {**ABOUT, "size": [64, 32]}
        (folder / "result").write_bytes(b"1")
        assert take(folder, ABOUT) and CLAIM.check(str(folder), ABOUT)
        assert (folder / "result").read_bytes() == b"1"


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    for name in ("one.tex", ".backup.tmp"):
        (folder / name).write_text("years of work")
    assert (
        refused(folder) == f"{folder} is not a run and not empty (.backup.tmp, one.tex). Name a new or an empty folder"
    )
    assert refused(folder / "one.tex") == f"{folder}/one.tex is a file, not a folder. Name a new or an empty folder"


def test_another_call_is_told_what_differs(tmp_path):
    take(tmp_path, ABOUT)
    (tmp_path / ".log.1.tmp").write_text("half")
    asked = ABOUT | {"lr": 1, "net": {"dim": 8, "trunk": "r50"}, "seed": 3, "data": "e" * 64}
    assert refused(tmp_path, asked) == (
        f"{tmp_path} is another run: lr was 0.1, now 1; net.trunk was 'r18', now 'r50'; the data differ; "
        f"seed was None, now 3. Name a new folder, or use {tmp_path}/last"
    )
    (tmp_path / "run.json").write_text(json.dumps(ABOUT | {"weights": "ab" * 32}))
    assert "weights was 'abababababab...', now None" in refused(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "[1]", "null", "[" * 10**5, '{"a":' * 40 + "1" + "}" * 40])
def test_a_damaged_claim_is_named(tmp_path, text):
    take(tmp_path, ABOUT)
    (tmp_path / "run.json").write_text(text)
    assert refused(tmp_path).startswith(f"{tmp_path}/run.json is damaged (")


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".run.json.0a.tmp").write_text("{")  # killed while it claimed the folder
    assert not take(tmp_path, ABOUT)
    for name in ("half", "a/half", "a/b/half"):
        (tmp_path / name).mkdir(parents=True)
    for name in (".x.tmp", "a/.y.tmp", "a/z.tmp", "kept", ".hidden"):
        (tmp_path / name).write_text("half")
    (tmp_path / "a/.tracklet.7.tmp").mkdir()
    (tmp_path / "a/.tracklet.7.tmp/0.jpg").write_bytes(b"1")
    (tmp_path / ".link.tmp").symlink_to(tmp_path / "a")
    assert take(tmp_path, ABOUT)
    assert sorted(contents(tmp_path)) == [".hidden", "a/z.tmp", "kept", "run.json"]
    assert not (tmp_path / ".link.tmp").is_symlink() and not (tmp_path / "a/.tracklet.7.tmp").exists()


def test_names_that_are_not_utf8_come_back(tmp_path):
    about = {"name": b"l\xe4ufe".decode("utf-8", "surrogateescape")}
    assert not take(tmp_path, about)
    assert take(tmp_path, about)


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**4 + "1" + "}" * 10**4, "NaN", "\x1b[2J", ""])
def test_a_claim_that_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(OtherRunError, match=r"run\.json is damaged") as caught:
        take(tmp_path, ABOUT)
    assert str(caught.value).isprintable()


def test_a_claim_and_a_record_that_would_fill_the_memory(tmp_path: Path) -> None:
    with open(tmp_path / "run.json", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OtherRunError, match="1,099,511,627,776 bytes"):
        take(tmp_path, ABOUT)
    os.truncate(tmp_path / "run.json", 0)
    (tmp_path / "run.json").write_text(json.dumps(ABOUT))
    with open(tmp_path / ".inputs.jsonl", "wb") as file:
        file.truncate(1 << 40)
    with (
        pytest.raises(OtherRunError, match=r"\.inputs\.jsonl cannot be read"),
        CLAIM.hold(tmp_path, ABOUT, InputRecord([])),
    ):
        pass


def test_settings_may_be_described_and_one_phrase_comes_once(tmp_path):
    claim = FolderClaim(
        file="run.json",
        what="a run",
        other="differs",
        describe=lambda name, before, now: "" if name == "lr" else f"the {name.split('.')[0]} is another one",
    )
    with claim.hold(tmp_path, {"lr": 1, "net": {"dim": 8, "depth": 2}}):
        pass
    with pytest.raises(ValueError, match=r"differs: lr was 1, now 2; the net is another one\. Name a new folder"):
        claim.check(tmp_path, {"lr": 2, "net": {"dim": 9, "depth": 3}})
