"""What is sent to the Hub: the files that stand for a network, and nothing that a pattern or a link leads to."""

from __future__ import annotations

import json
import os
import re

import pytest

from stmga import STMGA
from stmga.hub import push
from stmga.hub.records import WeightRecord, WeightsError
from tests.support.hub import REPO


def saved_with_a_log(model, folder):
    record = WeightRecord(name="stmga_tiny.a", config=model.config, sha256="0" * 64, log="log.jsonl")
    model.save_pretrained(folder, record=record)
    (folder / "log.jsonl").write_text('{"epoch": 1}\n')
    return folder


@pytest.mark.parametrize("log", ["*", "*.jsonl", "?og.jsonl", "[l]og.jsonl", "../log.jsonl", "log.jsonl/"])
def test_a_pattern_as_the_name_of_a_log_sends_nothing(hub, model, tmp_path, log):
    folder = saved_with_a_log(model, tmp_path / "mine")
    (folder / "secret.jsonl").write_text("secret")
    record = json.loads((folder / "config.json").read_text()) | {"log": log}
    (folder / "config.json").write_text(json.dumps(record))
    with pytest.raises(WeightsError, match=r"log must be a plain \*\.jsonl name"):
        push(folder, REPO, build=STMGA)
    assert hub.log == []


@pytest.mark.parametrize("name", ["log.jsonl", "README.md", "config.json", "model.safetensors"])
def test_a_link_out_of_the_folder_is_not_published(hub, model, tmp_path, name):
    folder = saved_with_a_log(model, tmp_path / "mine")
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WeightsError, match=rf"{re.escape(name)} is a link out of its folder"):
        push(folder, REPO, build=STMGA)
    assert hub.log == []


def test_a_log_that_is_a_link_out_of_the_folder_is_not_copied(model, tmp_path):
    folder = saved_with_a_log(model, tmp_path / "mine")
    loaded = STMGA.from_pretrained(folder)
    (tmp_path / "secret").write_text("secret")
    (folder / "log.jsonl").unlink()
    (folder / "log.jsonl").symlink_to(tmp_path / "secret")
    with pytest.raises(WeightsError, match=r"log\.jsonl is a link out of its folder"):
        loaded.save_pretrained(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize("kind", ["pipe", "folder", "a link that leads nowhere"])
def test_a_log_that_is_no_file(hub, model, tmp_path, kind):
    folder = saved_with_a_log(model, tmp_path / "mine")
    loaded = STMGA.from_pretrained(folder)
    log = folder / "log.jsonl"
    log.unlink()
    if kind == "pipe":
        os.mkfifo(log)
    elif kind == "folder":
        log.mkdir()
    else:
        log.symlink_to("nowhere")
    for act in (lambda: loaded.save_pretrained(tmp_path / "copy"), lambda: push(folder, REPO, build=STMGA)):
        with pytest.raises(WeightsError, match=r"log\.jsonl cannot be read"):
            act()
    assert hub.log == []


def test_a_link_within_the_folder_is_sent_as_the_file_it_is(hub, model, tmp_path):
    folder = saved_with_a_log(model, tmp_path / "mine")
    (folder / "log.jsonl").rename(folder / "old.jsonl")
    (folder / "log.jsonl").symlink_to("old.jsonl")
    (folder / "secret.txt").write_text("stays here")
    push(folder, REPO, build=STMGA)
    sent = hub.repos[REPO][-1]
    assert sorted(sent) == ["README.md", "config.json", "log.jsonl", "model.safetensors"]
    assert sent["log.jsonl"] == b'{"epoch": 1}\n'
