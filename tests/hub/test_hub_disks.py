"""Disks that are full or read-only, networks that are away: nothing half-written stays."""

from __future__ import annotations

import errno
import os
import time

import pytest

from stmga import STMGA
from stmga.hub import store as library
from stmga.hub.records import WeightsError
from tests.support.hub import REPO, litter, read_only, refuse, same, tiny, use


def test_a_read_only_cache_serves_what_it_has(hub, files, model, tmp_path):
    hub.commit(REPO, files)
    STMGA.from_pretrained(REPO)
    hub.commit(REPO, {"README.md": b"new"})
    hub.commit(REPO, files)
    with read_only(tmp_path), pytest.raises(OSError, match="Read-only"):
        (tmp_path / "cache" / "x").write_text("the simulation works")
    first = hub.sha(REPO, 0)
    with read_only(tmp_path):
        assert same(STMGA.from_pretrained(REPO, revision=first), model)
        assert same(STMGA.from_pretrained(REPO, local_files_only=True), model)


def test_a_read_only_cache_that_lacks_the_file(hub, files, tmp_path):
    hub.commit(REPO, files)
    with read_only(tmp_path):
        refuse(str(tmp_path / "cache"), "Read-only", "cache_dir=", "HF_HOME")
    assert litter(tmp_path) == []


def test_a_full_disk_while_downloading(hub, files, tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    hub.commit(REPO, files)
    monkeypatch.setattr(os, "replace", full)
    refuse("No space left", "cache_dir=")
    assert litter(tmp_path) == []


@pytest.mark.parametrize("revision", [None, "v1", "a" * 40])
def test_no_network_and_nothing_cached(tmp_path, monkeypatch, revision):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    start = time.monotonic()
    refuse("http://127.0.0.1:9", "Could not download", "folder", revision=revision)
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("revision", [None, "a" * 40])
def test_offline_and_nothing_cached(hub, revision):
    refuse("offline", REPO, "Load it once with network", revision=revision, local_files_only=True)
    assert hub.log == []


def test_offline_push(model, tmp_path, monkeypatch):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(WeightsError, match=r"Nothing was uploaded.*no connection"):
        library.push(model, REPO, build=STMGA)


def test_offline_mode_uploads_nothing(hub, model, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"Nothing was uploaded.*HF_HUB_OFFLINE"):
        library.push(model, REPO, build=STMGA)
    assert hub.log == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_while_saving(model, tmp_path, monkeypatch, call):
    model.save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match=r"No space left.*untouched") as caught:
            tiny(seed=1).save_pretrained(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert same(STMGA.from_pretrained(tmp_path), model)


def test_the_disk_fills_at_the_last_of_the_files(model, tmp_path, monkeypatch):
    """Weights fit, config.json does not: the folder keeps the old pair and not one new and one old file."""
    model.save_pretrained(tmp_path)
    done = []

    def full(descriptor):
        done.append(descriptor)
        if len(done) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            tiny(seed=1).save_pretrained(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert same(STMGA.from_pretrained(tmp_path), model)


def test_a_folder_that_cannot_be_written(model, tmp_path):
    with read_only(tmp_path), pytest.raises(OSError, match="Read-only"):
        model.save_pretrained(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_the_card_belongs_leaves_the_old_weights(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").unlink()
    (tmp_path / "README.md").mkdir()
    with pytest.raises(IsADirectoryError, match=r"README\.md"):
        tiny(seed=1).save_pretrained(tmp_path)
    assert same(STMGA.from_pretrained(tmp_path), model)
