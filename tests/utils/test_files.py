"""Files are written whole or not at all, several at once too; devices are written into."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stmga.utils.files import atomic_write, write_all


def test_atomic_write(tmp_path):
    atomic_write(tmp_path / "a", b"1")
    atomic_write(str(tmp_path / "a"), b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        atomic_write(tmp_path / "nowhere" / "a", b"1")


@pytest.fixture(name="files")
def files_fixture(tmp_path: Path) -> dict[Path, bytes]:
    """What is to be written: two files that are there, one that is not."""
    for name in "ab":
        (tmp_path / name).write_bytes(b"old " + name.encode())
    return {tmp_path / name: b"new" for name in "anb"}


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_replacement_that_fails_takes_back_the_others(files, tmp_path, monkeypatch, fails, links):
    before, done, replace = contents(tmp_path), [], os.replace

    def failing(source, target):
        done.append(target)
        if len(done) == fails:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    def no_links(*args, **kwargs):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "replace", failing)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(OSError, match="untouched") as caught:
        write_all(files)
    assert caught.value.filename == str(list(files)[fails - 1])
    assert contents(tmp_path) == before


def test_what_cannot_be_put_back_is_named_and_kept(files, tmp_path, monkeypatch):
    done, replace = [], os.replace

    def once(source, target):
        done.append(target)
        if len(done) > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        replace(source, target)

    monkeypatch.setattr(os, "replace", once)
    with pytest.raises(OSError, match="what was there before is now") as caught:
        write_all(files)
    assert "untouched" not in str(caught.value)
    (kept,) = [file for file in tmp_path.iterdir() if file.name not in "ab"]
    assert str(kept) in str(caught.value)
    assert (kept.read_bytes(), (tmp_path / "b").read_bytes()) == (b"old a", b"old b")


def test_an_interrupt_takes_back_too(files, tmp_path, monkeypatch):
    before, done, replace = contents(tmp_path), [], os.replace

    def interrupted(source, target):
        replace(source, target)
        done.append(target)
        if len(done) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_all(files)
    assert contents(tmp_path) == before


def test_all_are_replaced_and_nothing_else_is_left(files, tmp_path):
    write_all(files)
    assert contents(tmp_path) == dict.fromkeys("abn", b"new")


def test_a_folder_in_the_place_of_a_file_is_refused(files, tmp_path):
    (tmp_path / "n").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_all(files)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a", "b", "n"]
    assert (tmp_path / "a").read_bytes() == b"old a"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_written_into(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        atomic_write(pipe, b"data")
        assert os.read(reader, 10) == b"data"
    finally:
        os.close(reader)
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]
    assert pipe.is_fifo()
