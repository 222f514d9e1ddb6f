"""The benchmark of rendered walkers: the right people in the right roles, the same bytes, the stated difficulty."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stmga.cli.main import main
from stmga.data import Label, render_labelled, render_walkers
from stmga.data.walkers import generate as module
from stmga.data.walkers.generate import walkers_benchmark, write_benchmark
from stmga.data.walkers.looks import make_look
from stmga.data.walkers.spec import DIFFICULTIES, Difficulty
from stmga.embedding.embeddings import Embeddings
from stmga.metrics import Protocol, evaluate
from stmga.tracklets.manifest import read_manifest

SMALL: dict[str, Any] = {"frames": 2, "size": (32, 16)}


def digest(root: Path) -> str:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return hashlib.sha256(b"".join(p.relative_to(root).as_posix().encode() + p.read_bytes() for p in files)).hexdigest()


def test_roles_and_counts() -> None:
    made = walkers_benchmark(3, 4, distractors=2, cameras=3, tracklets=2, **SMALL)
    assert (len(made.train), len(made.query), len(made.gallery)) == (3 * 6, 4 * 3, 4 * 3 + 2 * 6)
    assert Counter((t.person, t.camera) for t in made.train) == {(p, c): 2 for p in range(3) for c in range(3)}
    asked = Counter((t.person, t.camera) for t in made.query)
    assert len(asked) == 12 and set(asked.values()) == {1}
    sides = {t.person for t in made.query}, {t.person for t in made.train}, {t.person for t in made.gallery}
    assert not sides[0] & sides[1]
    assert not sides[1] & sides[2]
    assert sides[0] < sides[2] and len(sides[2] - sides[0]) == 2  # the distractors
    everything = made.train + made.query + made.gallery
    assert len({t.id for t in everything}) == len(everything)
    assert made.protocol.queries_in_gallery and not made.protocol.distractors
    assert "4 persons and 2 distractors, 3 cameras, 2 tracklets each of 2 frames, 32x16" in str(made.protocol)


def test_trained_and_tested_persons_look_different() -> None:
    """Not only by number: no person of the test has the clothes of one who is trained on."""
    numbers = [t.person for p in ("train", "gallery") for t in getattr(walkers_benchmark(8, 8, cameras=2, **SMALL), p)]
    looks = [make_look(np.random.default_rng([0, 1, p])) for p in set(numbers)]  # type: ignore[list-item]
    assert len({(k.top_colour, k.bottom_colour, k.skin) for k in looks}) == 16


def test_the_test_does_not_depend_on_who_is_trained_on() -> None:
    few, many = (walkers_benchmark(n, 2, cameras=2, frames=(2, 5), size=(32, 16)) for n in (1, 3))
    for role in ("query", "gallery"):
        for a, b in zip(getattr(few, role), getattr(many, role), strict=True):
            assert a.id == b.id and np.array_equal(a.frames, b.frames)
    assert few.protocol == many.protocol


def test_one_tracklet_each_is_found_among_the_other_queries() -> None:
    made = walkers_benchmark(0, 3, cameras=2, tracklets=1, **SMALL)
    assert (made.train, made.gallery, len(made.query)) == ([], [], 6)
    vectors = np.eye(3, dtype=np.float32)[[t.person % 3 for t in made.query]]  # type: ignore[operator]
    known = Embeddings(torch.from_numpy(vectors), [t.row() for t in made.query], digest="")
    scores = evaluate(known, known.select([]), made.protocol).scores
    assert (scores.mAP, scores.queries, scores.matches) == (1.0, 6, 1.0)


def test_lengths_lie_in_their_range() -> None:
    made = walkers_benchmark(8, 0, cameras=1, frames=(2, 6), size=(32, 16))
    lengths = {len(t) for t in made.train}
    assert lengths <= set(range(2, 7)) and len(lengths) > 2


def test_written_is_what_is_rendered(tmp_path: Path) -> None:
    options: dict[str, Any] = {"cameras": 2, "seed": 3, "difficulty": "hard", "distractors": 1, **SMALL}
    made = walkers_benchmark(2, 1, **options)
    manifest = write_benchmark(tmp_path / "new" / "set", 2, 1, **options)
    read = read_manifest(manifest)
    everything = made.train + made.query + made.gallery
    assert {t.id for t in read} == {t.id for t in everything}
    by_id = {t.id: t for t in read}
    for tracklet in everything:
        stored = by_id[tracklet.id]
        assert (stored.person, stored.camera, stored.extra) == (tracklet.person, tracklet.camera, tracklet.extra)
        pictures = np.stack([frame.permute(1, 2, 0).numpy() for frame in stored.load()])
        assert pictures.shape == tracklet.frames.shape
        assert np.abs(pictures.astype(int) - tracklet.frames).mean() < 14  # JPEG, of noisy pictures
    words = json.loads((manifest.parent / "protocol.json").read_text())
    assert Protocol.from_dict(words["protocol"]) == made.protocol
    assert (words["name"], words["terms"]) == (made.name, made.terms) == ("walkers hard seed 3", module.TERMS)


def test_any_number_of_workers_writes_the_same_bytes(tmp_path: Path) -> None:
    for workers in (0, 1, 3):
        write_benchmark(tmp_path / str(workers), 2, 2, cameras=2, frames=(2, 4), size=(32, 16), workers=workers)
    assert len({digest(tmp_path / str(workers)) for workers in (0, 1, 3)}) == 1


def test_interrupted_it_goes_on_and_finished_it_rests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = write_benchmark(tmp_path / "whole", 2, 1, cameras=2, **SMALL)
    rendered: list[str] = []
    save = Image.Image.save

    def failing(self: Image.Image, path: Path, **options: Any) -> None:
        rendered.append(path.parent.name)
        if len(rendered) == 8:  # the second frame of the fourth tracklet
            raise OSError("disk full")
        save(self, path, **options)

    monkeypatch.setattr(Image.Image, "save", failing)
    with pytest.raises(OSError, match="disk full"):
        write_benchmark(tmp_path / "part", 2, 1, cameras=2, **SMALL)
    assert not (tmp_path / "part" / "manifest.jsonl").exists()
    assert len(list((tmp_path / "part").glob("*/*"))) == 3  # whole tracklets and nothing else
    (tmp_path / "part" / "train" / ".p0001_c1_t1.99.tmp").mkdir()  # as a killed process leaves it
    rendered[:] = ["full"] * 8
    again = write_benchmark(tmp_path / "part", 2, 1, cameras=2, **SMALL)
    assert len(rendered) == 8 + 2 * (12 - 3)
    assert digest(again.parent) == digest(whole.parent)
    rendered.clear()
    assert write_benchmark(tmp_path / "part", 2, 1, cameras=2, **SMALL) == again
    assert not rendered


def test_other_folders_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"not a folder of walkers and not empty \(mine\.txt\)"):
        write_benchmark(tmp_path, 1, 0, **SMALL)
    with pytest.raises(ValueError, match=r"mine\.txt is a file, not a folder"):
        write_benchmark(tmp_path / "mine.txt", 1, 0, **SMALL)
    write_benchmark(tmp_path / "set", 1, 0, **SMALL)
    before = digest(tmp_path)
    with pytest.raises(ValueError, match=r"holds other walkers: seed was 0, now 1\. Name a new folder"):
        write_benchmark(tmp_path / "set", 1, 0, seed=1, **SMALL)
    assert digest(tmp_path) == before


def shown(difficulty: Difficulty) -> tuple[float, float, float]:
    """Share of pixels that an occluder takes, how far persons stray in the crop, share of dark uniform garments."""
    covered, middles = [], []
    for person in range(10):
        _, labels = render_labelled(person, 0, frames=4, size=(64, 32), **asdict(difficulty))
        covered.append((labels == Label.OCCLUDER).mean())
        body = (labels > Label.BACKGROUND) & (labels < Label.OCCLUDER)
        middles += [np.argwhere(frame).mean(0) for frame in body if frame.any()]
    looks = [
        make_look(np.random.default_rng([0, 1, p]), similar_clothes=difficulty.similar_clothes) for p in range(100)
    ]
    dark = np.mean([max(k.top_colour) < 70 for k in looks])
    return float(np.mean(covered)), float(np.std(middles, axis=0).mean()), float(dark)


def test_each_level_hides_strays_and_dresses_alike_more_than_the_one_before() -> None:
    easy, medium, hard = (shown(DIFFICULTIES[name]) for name in ("easy", "medium", "hard"))
    assert easy[0] == 0
    for less, more in ((easy, medium), (medium, hard)):
        assert all(a < b for a, b in zip(less, more, strict=True)), (easy, medium, hard)


@pytest.mark.parametrize(("name", "place"), [("occlusion", 0), ("shift", 1), ("similar_clothes", 2)])
def test_each_setting_moves_what_it_names(name: str, place: int) -> None:
    none = {"occlusion": 0.0, "shift": 0.0, "similar_clothes": 0.0}
    assert shown(Difficulty(**(none | {name: 1.0})))[place] > 1.5 * shown(Difficulty(**none))[place]


def test_similar_clothes_change_the_clothes_and_not_the_person() -> None:
    for person in range(30):
        own, common = (make_look(np.random.default_rng([0, 1, person]), similar_clothes=s) for s in (0.0, 1.0))
        kept = ("stature", "width", "skin", "hair", "hair_style", "hat", "cadence", "shoe_colour", "bag", "bag_colour")
        assert [getattr(own, k) for k in kept] == [getattr(common, k) for k in kept]
        assert (common.top, common.bottom, common.pattern) == ("jacket", "trousers", "plain")


def test_a_set_of_walkers_can_begin_at_any_person() -> None:
    all_of_them = {t.id: t for t in render_walkers(4, cameras=2, tracklets=2, frames=(2, 6), size=(32, 16))}
    later = render_walkers(2, first=2, cameras=2, tracklets=2, frames=(2, 6), size=(32, 16))
    assert {t.person for t in later} == {2, 3}
    assert all(np.array_equal(t.frames, all_of_them[t.id].frames) for t in later)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"train_persons": -1}, "train_persons=-1"),
        ({"train_persons": 0, "test_persons": 0}, "nobody"),
        ({"train_persons": 10_001}, "at most"),
        ({"cameras": 1}, "cameras=2"),
        ({"test_persons": 0, "distractors": 3}, "distractors=3"),
        ({"tracklets": 0}, "tracklets=0"),
        ({"frames": (5, 2)}, "shortest, longest"),
        ({"size": (128, 8)}, "height, width"),
        ({"seed": -1}, "seed=-1"),
        ({"difficulty": "extreme"}, "easy, medium, hard"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, wrong: dict[str, Any], message: str) -> None:
    given = {"train_persons": 1, "test_persons": 1} | wrong
    with pytest.raises(ValueError, match=message):
        walkers_benchmark(**given)
    with pytest.raises(ValueError, match=message):
        write_benchmark(tmp_path / "set", **given)
    assert not (tmp_path / "set").exists()


def test_a_benchmark_takes_a_difficulty_and_not_its_values() -> None:
    with pytest.raises(TypeError, match=r"'shift', expected frames, size, seed; give difficulty=Difficulty\("):
        walkers_benchmark(1, 1, shift=0.5)  # type: ignore[call-arg]


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan"), "0.5", True])
def test_a_difficulty_is_made_of_shares(value: Any) -> None:
    with pytest.raises(ValueError, match="shift="):
        Difficulty(occlusion=0.5, shift=value, similar_clothes=0.5)


def test_names_of_difficulties() -> None:
    assert [str(DIFFICULTIES[name]) for name in DIFFICULTIES] == ["easy", "medium", "hard"]
    own = walkers_benchmark(1, 0, difficulty=Difficulty(occlusion=1, shift=0.5, similar_clothes=0), **SMALL)
    assert own.name == "walkers occlusion 1, shift 0.5, similar clothes 0 seed 0"


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "walkers"
    words = (
        "--train-persons 1 --test-persons 2 --cameras 2 --frames 2 4 --size 32 16 --difficulty easy --occlusion 1 -q"
    )
    assert main(["walkers", str(out), *words.split()]) == 0
    printed = capsys.readouterr().out
    assert "12 tracklets" in printed and "4 to train on, 4 queries, 4 in the gallery" in printed
    assert f"stmga train --data {out / 'manifest.jsonl'} --recipe cpu -o runs/walkers" in printed
    made = json.loads((out / "walkers.json").read_text())
    assert made["difficulty"] == {"occlusion": 1.0, "shift": 0.1, "similar_clothes": 0.0}
    assert (made["frames"], made["size"]) == ([2, 4], [32, 16])
    assert main(["walkers", str(out), "--seed", "1", "-q"]) == 1
    assert "holds other walkers" in capsys.readouterr().err
    assert main(["walkers", str(tmp_path / "x"), "--frames", "1", "2", "3"]) == 1
    assert "--frames" in capsys.readouterr().err
