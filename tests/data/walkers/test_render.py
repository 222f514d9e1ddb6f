"""The rendered walkers: deterministic, correctly labelled, and as similar and different as people."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stmga.data import Label, render_labelled, render_tracklet, render_walkers, write_walkers
from stmga.data.walkers.canvas import SUPERSAMPLING, Box, Canvas
from stmga.data.walkers.figures import draw_figure
from stmga.data.walkers.looks import make_look
from stmga.data.walkers.spec import WalkerOptions, WalkerSpec
from stmga.tracklets.manifest import read_manifest, write_manifest
from tests.support.paths import ROOT

DIGEST = """
import hashlib
from stmga.data import render_walkers
made = render_walkers(3, cameras=2, frames=(2, 4), seed=5, occlusion=0.5)
print(hashlib.sha256(b"".join(t.id.encode() + t.frames.tobytes() for t in made)).hexdigest())
"""


def body_histogram(person: int, camera: int, similar_clothes: float = 0.0) -> np.ndarray:
    """Colours of the person alone, as shares of 6 x 6 x 6 bins."""
    frames, labels = render_labelled(person, camera, frames=4, occlusion=0, shift=0, similar_clothes=similar_clothes)
    pixels = frames[(labels > Label.BACKGROUND) & (labels < Label.OCCLUDER)]
    bins = (pixels // 43).astype(int) @ np.array([36, 6, 1])
    return np.bincount(bins, minlength=216) / len(pixels)


def distances(camera_a: int, camera_b: int, persons: int, similar_clothes: float = 0.0) -> np.ndarray:
    a, b = (np.stack([body_histogram(p, c, similar_clothes) for p in range(persons)]) for c in (camera_a, camera_b))
    return np.abs(a[:, None] - b[None]).sum(-1)


@pytest.mark.parametrize("size", [(128, 64), (256, 128), (48, 48), (33, 90)])
def test_shapes(size: tuple[int, int]) -> None:
    frames, labels = render_labelled(1, 2, frames=3, size=size)
    assert (frames.shape, frames.dtype) == ((3, *size, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((3, *size), np.uint8)
    assert np.array_equal(frames, render_tracklet(1, 2, frames=3, size=size))


def test_same_arguments_same_bytes_here_and_in_a_fresh_process() -> None:
    def digest() -> str:
        made = render_walkers(3, cameras=2, frames=(2, 4), seed=5, occlusion=0.5)
        return hashlib.sha256(b"".join(t.id.encode() + t.frames.tobytes() for t in made)).hexdigest()

    first = digest()
    fresh = subprocess.run([sys.executable, "-c", DIGEST], cwd=ROOT, capture_output=True, text=True, check=True)
    assert first == digest() == fresh.stdout.strip()


@pytest.mark.parametrize("change", [{"person": 2}, {"camera": 1}, {"tracklet": 1}, {"seed": 1}, {"shift": 1.0}])
def test_every_argument_changes_the_pictures(change: dict) -> None:
    given = {"person": 1, "camera": 0, "tracklet": 0, "seed": 0, "shift": 0.2, "frames": 2}
    assert not np.array_equal(render_tracklet(**given), render_tracklet(**(given | change)))


def test_a_tracklet_does_not_depend_on_the_others_of_its_set() -> None:
    few, many = render_walkers(2, cameras=1, frames=3), render_walkers(4, cameras=2, tracklets=2, frames=3)
    by_id = {t.id: t for t in many}
    assert all(np.array_equal(t.frames, by_id[t.id].frames) for t in few)


def test_roles_ids_and_unequal_lengths() -> None:
    made = render_walkers(4, cameras=2, tracklets=2, frames=(3, 9), size=(64, 32))
    assert len({t.id for t in made}) == len(made) == 16
    queries = [t for t in made if t.extra["role"] == "query"]
    assert [(t.person, t.camera) for t in queries] == [(p, 0) for p in range(4)]
    gallery = [t for t in made if t.extra["role"] == "gallery"]
    assert len(gallery) == 12
    assert {t.camera for t in gallery} == {0, 1}
    lengths = {len(t) for t in made}
    assert len(lengths) > 2
    assert lengths <= set(range(3, 10))


def test_people_are_known_again_across_cameras_by_their_colours() -> None:
    d = distances(0, 1, 14)
    same, other = np.diag(d).mean(), d[~np.eye(len(d), dtype=bool)].mean()
    assert same < 0.85 * other, (same, other)


def test_similar_clothes_make_people_alike() -> None:
    off = ~np.eye(8, dtype=bool)
    assert distances(0, 0, 8, similar_clothes=1.0)[off].mean() < 0.75 * distances(0, 0, 8)[off].mean()


def test_cameras_differ_in_place_and_light() -> None:
    def background(camera: int) -> np.ndarray:
        seen = [render_labelled(p, camera, frames=2, occlusion=0) for p in range(3)]
        return np.concatenate([frames[labels == 0] for frames, labels in seen]).mean(0)

    colours = np.stack([background(c) for c in range(4)])
    gaps = np.abs(colours[:, None] - colours[None]).max(-1)[~np.eye(4, dtype=bool)]
    assert gaps.min() > 4


def within(labels: np.ndarray, label: Label) -> np.ndarray:
    """Pixels whose 3 x 3 neighbours all have that label."""
    here = np.pad(labels == label, 1)
    rows = here[:-2] & here[1:-1] & here[2:]
    return rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:]


def test_labels_say_what_the_strokes_painted() -> None:
    """A figure in one pure colour per part on black: its colours, read back, are its labels."""
    red, green, blue, yellow = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
    look = replace(
        make_look(np.random.default_rng(0)),
        skin=red, hair=red, hair_style="short", hat="none", boots=False, bag="none",
        top="shirt", sleeve=0.95, pattern="plain", top_colour=green,
        bottom="trousers", bottom_colour=blue, shoe_colour=yellow,
    )  # fmt: skip
    for yaw in (0.0, 0.8, 1.57, 3.14, 4.7):
        black = Image.new("RGB", (128 * SUPERSAMPLING, 256 * SUPERSAMPLING))
        canvas = Canvas(black, Box(-0.28, 1.08, 0.56, 1.12), labels=True)
        draw_figure(canvas, look, x=0.0, yaw=yaw, phase=1.0, pitch=0.1, light=1)
        picture, labels = canvas.picture().astype(int), canvas.labels()
        assert ((picture.max(-1) > 40) == (labels > 0)).mean() > 0.97  # they part along outlines only
        r, g, b = (picture[..., i] > 50 for i in range(3))
        for label, seen in ((Label.TORSO, g & ~r), (Label.LEGS, b), (Label.SHOES, r & g)):
            inside = within(labels, label)  # along outlines two colours mix
            assert inside.any()
            assert seen[inside].mean() > 0.97, (yaw, label)
        head, shoes = (np.argwhere(labels == part)[:, 0] for part in (Label.HEAD, Label.SHOES))
        assert head.max() < 0.35 * 256 < 0.8 * 256 < shoes.min()


def test_every_person_is_whole_and_in_order_from_head_to_shoes() -> None:
    for person in range(12):
        _, labels = render_labelled(person, 0, frames=2, occlusion=0, shift=0)
        assert not labels[:, 0].any()  # nobody's head is cut when the boxes are right
        rows = [np.argwhere(labels == part)[:, 1].mean() for part in (Label.HEAD, Label.TORSO, Label.LEGS, Label.SHOES)]
        assert rows == sorted(rows)


def test_bags_patterns_and_garments_all_occur() -> None:
    looks = [make_look(np.random.default_rng([0, 1, p])) for p in range(200)]
    assert {k.bag for k in looks} == {"none", "backpack", "handbag", "messenger"}
    assert {k.pattern for k in looks} == {"plain", "stripes", "columns", "checks", "dots", "logo", "halves"}
    assert {k.top for k in looks} == {"shirt", "hoodie", "jacket", "coat", "dress"}
    assert {k.hat for k in looks} == {"none", "cap", "beanie"}
    seen = [(render_labelled(p, 0, frames=2, occlusion=0)[1] == Label.BAG).any() for p in range(16)]
    carried = [looks[p].bag != "none" for p in range(16)]
    assert seen == carried


def test_occlusion() -> None:
    for person in range(10):
        plain, clean = render_labelled(person, 0, frames=6, occlusion=0)
        hidden, labels = render_labelled(person, 0, frames=6, occlusion=1)
        cover = labels == Label.OCCLUDER
        assert not (clean == Label.OCCLUDER).any()
        assert cover.any()
        # The occluder changes only the pixels that it covers: same walk, same boxes, same noise.
        assert np.array_equal(labels[~cover], clean[~cover])
        change = np.abs(plain.astype(int) - hidden).mean(-1)
        assert change[cover].mean() > 2 * change[~cover].mean()
    shares = [(render_labelled(p, 1, frames=4, occlusion=0.5)[1] == Label.OCCLUDER).any() for p in range(24)]
    assert 4 < sum(shares) < 20


def test_shift_moves_the_boxes_and_no_shift_holds_the_person() -> None:
    def torsos(shift: float) -> np.ndarray:
        found = []
        for person in range(6):
            _, labels = render_labelled(person, 0, frames=6, occlusion=0, shift=shift)
            found.append([np.argwhere(frame == Label.TORSO).mean(0) for frame in labels])
        return np.array(found)

    still, moved = torsos(0.0), torsos(1.0)
    assert np.abs(still[..., 1] - 31.5).max() < 8  # the person stays in the middle of the crop
    assert moved.std(1).mean() > 2.5 * still.std(1).mean()


def test_limbs_move() -> None:
    _, labels = render_labelled(4, 0, frames=8, occlusion=0, shift=0)
    legs = (labels == Label.LEGS) | (labels == Label.SHOES)
    changed = (legs[1:] != legs[:-1]).sum((1, 2)) / legs[0].sum()
    assert (changed > 0.05).all()


def test_write(tmp_path: Path) -> None:
    manifest = write_walkers(tmp_path / "set", 2, cameras=2, frames=(2, 4), seed=3)
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    made = render_walkers(2, cameras=2, frames=(2, 4), seed=3)
    assert manifest == tmp_path / "set" / "manifest.jsonl"
    for row, tracklet in zip(rows, made, strict=True):
        assert (row["tracklet"], row["person"], row["camera"]) == (tracklet.id, tracklet.person, tracklet.camera)
        assert row["role"] == tracklet.extra["role"]
        for name, pixels in zip(row["frames"], tracklet.frames, strict=True):
            stored = np.asarray(Image.open(manifest.parent / name)).astype(int)
            assert stored.shape == pixels.shape
            assert np.abs(stored - pixels).mean() < 12  # JPEG, of noisy pictures


def test_write_refuses_a_folder_with_something_in_it(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(ValueError, match=r"not a folder of walkers and not empty \(mine\.txt\)"):
        write_walkers(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_write_resumes_and_refuses_another_set(tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    given = {"cameras": 1, "tracklets": 2, "frames": (2, 4), "size": (32, 16)}
    manifest = write_walkers(tmp_path / "set", 2, **given)
    whole = contents(manifest.parent)
    manifest.unlink()
    shutil.rmtree(manifest.parent / "p0001_c0_t0")
    (manifest.parent / ".p0001_c0_t0.99.tmp").mkdir()  # as a killed process leaves it
    assert write_walkers(tmp_path / "set", 2, **given) == manifest
    assert contents(manifest.parent) == whole
    assert not list(manifest.parent.glob(".*"))
    with pytest.raises(ValueError, match=r"holds other walkers: persons was 2, now 3; seed was 0, now 7\. Name"):
        write_walkers(tmp_path / "set", 3, seed=7, **given)
    assert contents(manifest.parent) == whole


def test_the_manifest_is_written_as_that_of_any_tracklets(tmp_path: Path) -> None:
    manifest = write_walkers(tmp_path / "set", 1, frames=2, size=(32, 16))
    write_manifest(read_manifest(manifest), tmp_path / "set" / "again.jsonl")
    assert (tmp_path / "set" / "again.jsonl").read_bytes() == manifest.read_bytes()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"persons": 0}, "persons=0"),
        ({"cameras": 0}, "cameras=0"),
        ({"frames": 0}, "frames=0"),
        ({"frames": (5, 2)}, "shortest, longest"),
        ({"frames": "8"}, "frames='8'"),
        ({"size": (128, 8)}, "height, width"),
        ({"size": (128.0, 64.0)}, "height, width"),
        ({"occlusion": 1.5}, "occlusion=1.5"),
        ({"shift": -0.1}, "shift=-0.1"),
        ({"seed": -1}, "seed=-1"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render_walkers(**({"persons": 1} | wrong))
    with pytest.raises(ValueError, match=message):
        write_walkers(tmp_path / "set", **({"persons": 1} | wrong))
    assert not (tmp_path / "set").exists()


def test_unknown_arguments_are_named() -> None:
    for render in (render_walkers, partial(render_tracklet, 0, 0), partial(render_labelled, 0, 0)):
        with pytest.raises(TypeError, match=r"unknown argument 'oclusion', expected frames.*did you mean 'occlusion'"):
            render(oclusion=0.5)


def test_one_tracklet_has_one_length() -> None:
    with pytest.raises(ValueError, match=r"frames=\(2, 4\): give a whole number"):
        render_tracklet(0, 0, frames=(2, 4))


def test_type_checkers_know_the_arguments_of_a_spec() -> None:
    named = {field.name: field.type for field in fields(WalkerSpec)}
    assert {name: hint.__forward_arg__ for name, hint in WalkerOptions.__annotations__.items()} == named
