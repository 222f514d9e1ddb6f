"""What identifies the input of work that may be resumed: every frame's file, box, index and span, and labels."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stmga import Tracklet
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.tracklet import Frame


@pytest.fixture(name="files")
def files_fixture(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{i}.jpg" for i in range(3)]
    for file in files:
        file.write_bytes(file.name.encode() * 9)
    return files


def tracklet(files: list[Path]) -> Tracklet:
    return Tracklet("a", [Frame(file) for file in files], person=1, camera="door", extra={"role": "query"})


def difference(before: list[Tracklet], now: list[Tracklet]) -> str:
    return InputRecord(now).difference(InputRecord(before).to_bytes())


def test_the_same_is_the_same(files):
    video = Tracklet("v", [Frame(files[0], index=3), Frame(files[0], (1, 2, 3, 4), index=4)])
    assert difference([tracklet(files), video], [tracklet(files), video]) == ""


@pytest.mark.parametrize(
    "frame", [{"box": (1.0, 2.0, 3.0, 4.0)}, {"index": 5}, {"span": (0, 9)}, {"file": Path("/other/1.jpg")}]
)
def test_another_frame_is_named(files, frame):
    now = tracklet(files)
    changed = replace(now.frames[1], **frame)
    now = replace(now, frames=(now.frames[0], changed, now.frames[2]))
    told = f'tracklet "a": frame 1 ({changed.file}) has changed: its path'
    assert difference([tracklet(files)], [now]).startswith(told)


def test_another_size_or_time_or_a_file_that_went(files):
    before = InputRecord([tracklet(files)]).to_bytes()
    for change in (
        lambda: files[2].write_bytes(b"longer than it was before, by far"),
        lambda: os.utime(files[2], ns=(0, os.stat(files[2]).st_mtime_ns + 1)),
        files[2].unlink,
    ):
        change()
        now = InputRecord([tracklet(files)])
        assert f"frame 2 ({files[2]}) has changed" in now.difference(before)
        before = now.to_bytes()


@pytest.mark.parametrize("label", [{"person": 2}, {"camera": None}, {"time": 3.0}, {"extra": {"role": "gallery"}}])
def test_other_labels(files, label):
    assert difference([tracklet(files)], [replace(tracklet(files), **label)]) == 'tracklet "a": its labels have changed'


def test_other_counts_and_names(files):
    one = tracklet(files)
    assert difference([one], [one, one]) == "1 tracklets were read, now 2"
    assert difference([one], [replace(one, id="b")]) == 'tracklet "b" was "a"'
    assert difference([one], [tracklet(files[:2])]) == 'tracklet "a" had 3 frames, now 2'
    two = [tracklet(files[:1]), tracklet(files[:2])]
    assert difference([one, one], two).endswith("(and 1 more tracklets have changed)")


def test_frames_in_memory_are_known_by_their_pixels():
    black, white = (np.full((3, 8, 4, 3), value, np.uint8) for value in (0, 255))
    white[:2] = 0
    assert difference([Tracklet("m", black)], [Tracklet("m", black.copy())]) == ""
    assert "frame 2 (in memory)" in difference([Tracklet("m", black)], [Tracklet("m", white)])
    assert difference([Tracklet("m", list(black))], [Tracklet("m", list(white))]) != ""


def test_contents_of_copied_files(files, tmp_path):
    before = InputRecord([tracklet(files)], contents=True).to_bytes()
    (tmp_path / "copy").mkdir()
    copies = [Path(shutil.copyfile(file, tmp_path / "copy" / file.name)) for file in files]
    assert InputRecord([tracklet(copies)], contents=True).difference(before) == ""
    assert "frame 0" in InputRecord([tracklet(copies)]).difference(before), "without it, a copy is another file"
    copies[1].write_bytes(copies[1].read_bytes()[::-1])  # of the same size
    os.utime(copies[1], ns=(0, os.stat(files[1]).st_mtime_ns))
    changed = InputRecord([tracklet(copies)], contents=True).difference(before)
    assert changed == f'tracklet "a": frame 1 ({copies[1]}) has changed: its contents, box or index'


def test_contents_that_were_not_noted(files):
    before = InputRecord([tracklet(files)]).to_bytes()
    assert InputRecord([tracklet(files)], contents=True).difference(before) == ""
    os.utime(files[0], ns=(0, 1))
    assert "begun without trust_content=True" in InputRecord([tracklet(files)], contents=True).difference(before)


@pytest.mark.parametrize("text", [b"{", b"[1]\n", b'{"tracklet": "a"}\n', b"\xff\n"])
def test_a_damaged_record(files, text):
    assert "record of its input files is damaged" in InputRecord([tracklet(files)]).difference(text)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names on this system")
def test_contents_of_a_pipe_or_device_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for file in (tmp_path / "pipe", Path("/dev/zero")):
        [row] = InputRecord([Tracklet("a", [Frame(file)])], contents=True).rows
        assert row["contents"]


def test_a_record_that_is_nested_too_deeply(tmp_path):
    assert "damaged" in InputRecord([Tracklet("a", [tmp_path / "1.jpg"])]).difference(b"[" * 100_000)


@pytest.mark.parametrize("name", ["a\0b", "\ud800"], ids=ascii)
@pytest.mark.parametrize("contents", [False, True])
def test_a_name_that_no_file_can_have_is_a_missing_file(name, contents):
    record = InputRecord([Tracklet("a", [name])], contents=contents)
    assert record.difference(record.to_bytes()) == ""
    assert "frame 0" in record.difference(InputRecord([Tracklet("a", ["other"])], contents=contents).to_bytes())
