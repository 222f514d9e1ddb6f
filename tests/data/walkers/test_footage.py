"""Rendered scenes on disk: the same bytes for the same arguments, read by the readers, resumed, refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stmga import read_tracklets
from stmga.cli.main import main
from stmga.data import write_scenes
from stmga.data.walkers import footage
from stmga.data.walkers.filming import Film, Sighting
from stmga.data.walkers.scene_spec import SceneSpec
from stmga.data.walkers.truth import LOST, SEEN, START, tracklets_of
from stmga.tracklets.mot import read_mot
from tests.support.scenes import SMALL, Truth, spec_of

TINY: dict[str, Any] = {"cameras": 2, "persons": 6, "seconds": 1, "fps": 4, "size": (96, 128)}


def test_the_same_arguments_give_the_same_bytes_for_any_number_of_workers(tmp_path: Path) -> None:
    one, two = (write_scenes(tmp_path / str(n), **TINY, workers=n).parent for n in (0, 2))
    names = sorted(file.name for file in one.iterdir() if file.is_file() and not file.name.startswith("."))
    assert names == ["cam1.mp4", "cam1.txt", "cam2.mp4", "cam2.txt", "manifest.jsonl", "scenes.json"]
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)
    pixels = [np.stack([p for p, _ in Film(spec_of(TINY | {"seed": s}), 0).frames()]) for s in (0, 0, 1)]
    assert np.array_equal(pixels[0], pixels[1]) and not np.array_equal(pixels[0], pixels[2])


def test_the_manifest_is_read_and_its_crops_show_the_person(scenes: Path) -> None:
    tracklets = read_tracklets(scenes / "manifest.jsonl")
    frames = [list(Film(spec_of(SMALL), n).frames()) for n in range(2)]
    assert len({t.id for t in tracklets}) == len(tracklets) > 14
    for tracklet in tracklets:
        assert tracklet.id.startswith(f"{tracklet.camera}-")
        found = frames[int(str(tracklet.camera)[-1]) - 1]
        indices = [frame.index for frame in tracklet.frames]
        assert tracklet.time == START + indices[0] / 5 and tracklet.extra == {"end_time": START + indices[-1] / 5}
        i = len(tracklet) // 2
        frame = tracklet.frames[i]
        x, y, w, h = map(int, frame.box)
        assert any(one[1:6] == (tracklet.person, x, y, w, h) for one in found[frame.index][1])
        stored = tracklet.load([i])[0].permute(1, 2, 0).numpy().astype(int)
        errors = [np.abs(stored - found[k][0][y : y + h, x : x + w]).mean() for k in (frame.index, frame.index - 3)]
        assert errors[0] < 12  # lost by encoding: mostly the noise
        assert errors[0] < errors[1] or w < 8


def test_the_mot_files_give_the_same_boxes_over_the_video(scenes: Path, truth: Truth) -> None:
    for name, sightings in truth.items():
        read = read_mot(scenes / f"{name}.txt", scenes / f"{name}.mp4", camera=name)
        boxes = {(int(t.id.split("-")[1]), f.index, f.box) for t in read for f in t.frames}
        assert boxes == {(one.person, one.frame, (one.x, one.y, one.w, one.h)) for one in sightings}
        lines = (scenes / f"{name}.txt").read_text().splitlines()
        assert all(line.split(",")[6:8] == ["1", "1"] and 0 <= float(line.split(",")[8]) <= 1 for line in lines)
        assert max(int(line.split(",")[0]) for line in lines) <= 150


def test_tracklets_leave_out_hidden_frames_and_end_after_a_second(tmp_path: Path) -> None:
    def seen(frame: int, person: int, visible: float = 1.0) -> Sighting:
        return Sighting(frame, person, 1, 2, 3, 4, visible)

    shown = [seen(k, 7, SEEN - 0.01 if 3 <= k <= 5 else 1.0) for k in range(10)]
    again = [seen(k, 7) for k in range(10 + round(LOST * 4), 16)]  # the second is over: 4 frames per second
    other = [seen(k, 8) for k in range(2, 20)]
    found = list(tracklets_of(sorted(shown + again + other), tmp_path / "door.mp4", 4))
    ends = [("door-1", 7, "door"), ("door-3", 7, "door"), ("door-2", 8, "door")]  # in the order in which they end
    assert sorted((t.id, t.person, t.camera) for t in found) == sorted(ends)
    assert found[0].id == "door-1"
    by_id = {t.id: [f.index for f in t.frames] for t in found}
    assert by_id["door-1"] == [0, 1, 2, 6, 7, 8, 9]
    assert by_id["door-2"] == list(range(2, 20))
    assert by_id["door-3"] == [14, 15]


def test_interrupted_it_resumes_and_finished_it_does_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_scenes(tmp_path / "whole", **TINY).parent
    written: list[str] = []
    encoder = footage._encoder

    @contextmanager
    def failing(file: Path, spec: SceneSpec, codec: str) -> Iterator[Any]:
        with encoder(file, spec, codec) as encode:

            def one(pixels: np.ndarray) -> None:
                written.append(file.name.split(".")[1])
                if len(written) == 6:  # the second frame of the second camera
                    raise OSError("disk full")
                encode(pixels)

            yield one  # fmt: skip

    monkeypatch.setattr(footage, "_encoder", failing)
    with pytest.raises(OSError, match="disk full"):
        write_scenes(tmp_path / "part", **TINY)
    assert {f.name for f in (tmp_path / "part").glob("[!.]*")} == {"cam1.mp4", "cam1.txt", "scenes.json"}
    (tmp_path / "part" / "cam2.mp4").write_bytes(b"killed between video and truth")
    written[:] = [""] * 6
    assert write_scenes(tmp_path / "part", **TINY).is_file()
    assert written[6:] == ["cam2"] * 4
    for file in whole.glob("[!.]*"):
        assert file.read_bytes() == (tmp_path / "part" / file.name).read_bytes()
    written.clear()
    write_scenes(tmp_path / "part", **TINY)
    assert not written


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"is not a folder of scenes and not empty \(mine\.txt\)"):
        write_scenes(tmp_path, **TINY)
    made = write_scenes(tmp_path / "set", **TINY).parent
    before = {file: file.read_bytes() for file in made.glob("*.*")}
    with pytest.raises(ValueError, match=r"holds other scenes: seed was 0, now 1\. Name a new folder"):
        write_scenes(made, **TINY, seed=1)
    with pytest.raises(ValueError, match=r"difficulty\.occlusion was 0\.35, now 0\.7"):
        write_scenes(made, **TINY, difficulty="hard")
    assert {file: file.read_bytes() for file in made.glob("*.*")} == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"cameras": 0}, "cameras=0: give a whole number"),
        ({"persons": 0}, "persons=0"),
        ({"persons": 10_001}, "at most"),
        ({"fps": 0}, "fps=0"),
        ({"fps": 2.5}, r"fps=2\.5"),
        ({"seconds": 0}, "seconds=0: give at least one frame"),
        ({"seconds": float("nan")}, "seconds=nan"),
        ({"seconds": "60"}, "seconds='60': give a number"),
        ({"size": (360, 641)}, "even"),
        ({"size": (94, 128)}, "at least 96"),
        ({"size": (200, 100)}, "not higher than wide"),
        ({"seed": -1}, "seed=-1"),
        ({"difficulty": "extreme"}, "easy, medium, hard"),
        ({"workers": -1}, "workers=-1"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_scenes(tmp_path / "set", **TINY | wrong)
    assert not (tmp_path / "set").exists()


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "scenes"
    words = "--scenes --cameras 1 --persons 9 --seconds 2 --fps 4 --size 96 128 --difficulty easy --occlusion 1 -q"
    assert main(["walkers", str(out), *words.split()]) == 0
    printed = capsys.readouterr().out
    assert "1 camera, " in printed and f"stmga people {out}/cam*.mp4 -o who" in printed
    made = json.loads((out / "scenes.json").read_text())
    assert made["difficulty"] == {"occlusion": 1.0, "similar_clothes": 0.0} and made["size"] == [96, 128]
    for typed, message in (
        ("--scenes --seed 1", "holds other scenes"),
        ("--scenes --tracklets 3 --shift 0.5", "--tracklets, --shift cannot be used with --scenes"),
        ("--persons 3", "--persons: add --scenes"),
        ("--scenes --seconds 0", "--seconds 0.0: give at least one frame"),
    ):
        assert main(["walkers", str(out), *typed.split()]) == 1
        assert message in capsys.readouterr().err
