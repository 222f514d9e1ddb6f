"""The command that tracks: what it prints, and its exit codes."""

import logging

import pytest

from stmga.cli.main import main
from tests.support.street import EMPTY, two_people
from tests.support.videos import filmed

pytest.importorskip("trackers")


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("street")
    return [filmed(folder / f"cam{n}.mp4", two_people()[0]) for n in (1, 2)]


def test_tracks_of_two_cameras_are_embedded_next(videos, tmp_path, capsys):
    out = tmp_path / "tracks"
    command = ["track", *map(str, videos), "-o", str(out), "--detector", "motion", "-q"]
    command += ["--start", "cam1=2026-11-28T10:00:00+01:00", "--region", "cam2=0,0 160,0 160,80 0,80"]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert "cam1: 2 tracks in 50 frames" in printed and "cam2: 1 track in 50 frames" in printed
    assert "clock   time stamps of the video" in printed
    assert "3 tracklets of 2 cameras" in printed
    assert main(command) == 0
    assert "cam1: 2 tracks in 50 frames (done before)" in capsys.readouterr().out
    assert main(["embed", str(out / "manifest.jsonl"), "-o", str(tmp_path / "all.safetensors"), "-q"]) == 0
    assert "3 256-dimensional vectors" in capsys.readouterr().out or (tmp_path / "all.safetensors").is_file()


def test_by_default_motion_is_named(videos, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert main(["track", str(videos[0]), "-o", str(tmp_path / "out"), "-q"]) == 0
    assert "detector  motion (for fixed cameras; no weights of a detector are on this disk" in capsys.readouterr().out


def test_nobody_is_an_error_that_says_what_to_try(tmp_path, capsys):
    video = filmed(tmp_path / "empty.mp4", [EMPTY] * 20)
    assert main(["track", str(video), "-o", str(tmp_path / "out"), "--detector", "motion", "-q"]) == 1
    error = capsys.readouterr().err
    assert "no person was found with the detector motion; try --detector torchvision:" in error
    assert "--min-frames" in error


def test_mistakes_are_named_in_flags(videos, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert main(["track", str(videos[0]), str(videos[0]), "-o", out]) == 1
    assert "two videos of one camera name, 'cam1'" in capsys.readouterr().err
    assert main(["track", str(videos[0]), "-o", out, "--start", "2026-11-28T10:00:00"]) == 1
    assert "has no time zone" in capsys.readouterr().err
    for argument, words in (
        (["-o", ""], "-o is empty"),
        (["-o", out, "--detector", ""], "--detector is empty; expected motion"),
        (["-o", str(videos[0])], "is a file; give -o the name of a folder"),
    ):
        assert main(["track", str(videos[0]), *argument]) == 1
        assert words in capsys.readouterr().err
    assert main(["track", "", "-o", out]) == 1
    assert "the name of a video is empty" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    logging.getLogger("stmga").setLevel(logging.NOTSET)
