"""The script that unpacks the research sets: manifests, the held-out persons and the small copy, on made-up zips."""

import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.tools import research_data as data
from stmga.data import load_benchmark, side_by_side
from stmga.tracklets.tracklet import Tracklet
from tests.support.paths import DATA
from tests.support.tracklets import noise

HELD = [1, 3]
MANIFESTS = [Path(name, "index.jsonl") for name in ("market1501-867", "cuhk03-1367")]
WIDE = {"sharp": (60, 220), "soft": (32, 64)}


def zipped(target: Path, folder: Path) -> None:
    with zipfile.ZipFile(target, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))


def made_up(root: Path) -> Path:
    """Zips in the form of the real ones: five CUHK03 persons seen by two cameras, of whom 0 to 3 have sharp crops."""
    shared = root / "shared"
    shared.mkdir()
    rows = []
    for person in range(5):
        for camera in (1, 2):
            names = [f"frames/{person:04}_{camera}{i}.jpg" for i in range(2)]
            rows.append({"tracklet": f"{person:04}{camera}", "person": person, "camera": camera, "frames": names})
            for name in names:
                noise(root / "cuhk03" / name, seed=person, size=WIDE["soft"])
                if person < 4:
                    noise(root / "cuhk03-sharp" / name, seed=person, size=WIDE["sharp"])
    (root / "cuhk03" / "index.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for name in ("market1501-867", "mars8-dev"):
        noise(root / name / "frames" / "a.jpg", size=WIDE["soft"])
        row = {"tracklet": "a", "person": 1, "camera": 1, "frames": ["frames/a.jpg"]}
        (root / name / "index.jsonl").write_text(json.dumps(row) + "\n")
    for name in ("cuhk03", "cuhk03-sharp", "market1501-867", "mars8-dev"):
        zipped(shared / f"{name}.zip", root / name)
    (shared / "resnet18-imagenet-to-layer3.safetensors").write_bytes(b"trunk")
    return shared


@pytest.fixture(scope="module", name="shared")
def shared_fixture(tmp_path_factory):
    return made_up(tmp_path_factory.mktemp("zips"))


@pytest.fixture(scope="module", name="out")
def out_fixture(shared, tmp_path_factory):
    out = tmp_path_factory.mktemp("out") / "data"
    data.unpack(shared, out)
    data.write_manifests(out, HELD)
    return out


def pixels(tracklet: Tracklet) -> np.ndarray:
    return np.stack([frame.numpy() for frame in tracklet.load()])


def test_nobody_is_both_trained_on_and_held_out(out):
    train = load_benchmark(out / "cuhk03-1367" / "index.jsonl")
    assert (train.name, sorted({t.person for t in train.train})) == ("cuhk03-1367", [0, 2, 4])
    assert [t.id for t in train.train][-4:] == [
        "00001-sharp",
        "00002-sharp",
        "00021-sharp",
        "00022-sharp",
    ]  # 4 has none
    assert {t.id: t.load()[0].shape[1:] for t in train.train}["00021-sharp"] == WIDE["sharp"][::-1]
    for kind, size in WIDE.items():
        held = load_benchmark(out / f"cuhk03-held-{kind}" / "index.jsonl")
        assert [[t.id for t in part] for part in (held.query, held.gallery)] == [["00011", "00031"], ["00012", "00032"]]
        assert held.query[0].load()[0].shape[1:] == size[::-1]
        assert {t.person for t in held.query} == {t.person for t in held.gallery} == set(HELD)
    assert (out / "resnet18-imagenet-to-layer3.safetensors").read_bytes() == b"trunk"


def test_it_can_be_run_again_and_names_what_is_missing(shared, out, tmp_path):
    data.unpack(shared, out)
    copy = tmp_path / "copy"
    data.unpack(shared, copy)
    (copy / "cuhk03" / "frames" / "0002_11.jpg").unlink()
    with pytest.raises(ValueError, match=r"cuhk03 lacks or has changed 1 of 21 files, first frames/0002_11.jpg"):
        data.unpack(shared, copy)
    (copy / "cuhk03-sharp" / "frames" / "0003_20.jpg").unlink()
    with pytest.raises(ValueError, match=r"lacks 1 crops of the held-out persons, first frames/0003_20\.jpg"):
        data.write_manifests(copy, HELD)
    with pytest.raises(FileNotFoundError, match=r"lacks mars8-dev.zip, market1501-867.zip"):
        data.unpack(tmp_path, tmp_path / "new")


def test_the_small_copy_trains_the_same_tracklets(out, tmp_path):
    """The same ids, persons and frames, near the same pixels, sharp ones too; and nobody of the held-out."""
    target = tmp_path / "small.tar.xz"
    quality, psnr = data.write_small(target, out, 1_000_000)
    assert quality == 95
    assert set(psnr) == {"soft", "sharp"}
    data.unpack_small(target, tmp_path / "small")
    both = [
        [load_benchmark(root / name / "index.jsonl") for name in data.TRAINING] for root in (out, tmp_path / "small")
    ]
    before, after = (side_by_side(sets).train for sets in both)
    assert [t.row() | {"cover": 0} for t in before] == [t.row() | {"cover": 0} for t in after]
    for a, b in zip(before, after, strict=True):
        before_it, after_it = (torch.from_numpy(pixels(t)).float() for t in (a, b))
        resized = F.interpolate(
            before_it, after_it.shape[-2:], mode="bicubic", antialias=True
        )  # sharp ones are reduced
        error = (resized - after_it).square().mean()
        assert 0 < error < np.square(pixels(a) - pixels(a).mean()).mean() / 2
    held = {f"{person:04}" for person in HELD}
    frames = [f for name in ("cuhk03", "cuhk03-sharp") for f in (tmp_path / "small" / name / "frames").iterdir()]
    assert len(frames) == 12 + 8
    assert not [file for file in frames if file.name[:4] in held]
    sharp = Image.open(tmp_path / "small" / "cuhk03-sharp" / "frames" / "0000_10.jpg")
    assert (sharp.format, sharp.size) == ("WEBP", (52, 192))
    with pytest.raises(ValueError, match="not empty"):
        data.unpack_small(target, tmp_path / "small")


def test_the_small_copy_has_the_highest_quality_that_fits(out, tmp_path):
    sizes = {}
    files = [file for part in data.training_files(out) for file in part]
    for quality in (20, 21):
        data.write_tar(tmp_path / "probe", out, files, quality, MANIFESTS)
        sizes[quality] = (tmp_path / "probe").stat().st_size
    assert sizes[20] < sizes[21]
    quality, _ = data.write_small(tmp_path / "small.tar.xz", out, sizes[20])
    assert (tmp_path / "small.tar.xz").stat().st_size <= sizes[20]
    assert quality <= 20
    with pytest.raises(ValueError, match=r"21 crops do not fit in 0.001 MB"):
        data.write_small(tmp_path / "none.tar.xz", out, 1000)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["probe", "small.tar.xz"]


def test_crops_stay_outside_the_repository(tmp_path):
    root = data.HERE.parent
    for inside in (root, root / "data", root / "runs" / ".." / "data"):
        with pytest.raises(ValueError, match="outside it"):
            data.outside(inside)
    assert data.outside(root / "runs" / "data") == root / "runs" / "data"
    assert data.outside(tmp_path) == tmp_path


def test_the_rule_takes_persons_who_are_sharp_before_two_cameras():
    def row(person, camera, *names):
        return {"person": person, "camera": camera, "frames": [f"frames/{name}" for name in names]}

    rows = [row(1, 1, "a"), row(1, 2, "b"), row(2, 1, "c"), row(2, 1, "d"), row(3, 1, "e", "f"), row(3, 2, "g")]
    assert data.chosen(rows, {*"abcdefg"}) == [1, 3]
    assert data.chosen(rows, {*"abcdeg"}) == [1]
    everyone = [row(person, camera, "a") for person in range(300) for camera in (1, 2)]
    assert len(data.chosen(everyone, {"a"})) == 100


def test_the_list_follows_from_the_rule():
    if not (DATA / "cuhk03-sharp.zip").is_file():
        pytest.skip(f"{DATA} has no cuhk03-sharp.zip: the research sets are not in the repository")
    with zipfile.ZipFile(DATA / "cuhk03.zip") as soft, zipfile.ZipFile(DATA / "cuhk03-sharp.zip") as sharp:
        rows = [json.loads(line) for line in soft.read("index.jsonl").splitlines()]
        names = {Path(name).name for name in sharp.namelist()}
    held = data.held_out()
    assert data.chosen(rows, names) == held
    assert len(set(held)) == 100


def test_a_name_that_leaves_the_folder_is_not_unpacked(tmp_path):
    with tarfile.open(tmp_path / "bad.tar.xz", "w:xz") as archive:
        archive.addfile(tarfile.TarInfo("../outside"))
    with pytest.raises(tarfile.OutsideDestinationError):
        data.unpack_small(tmp_path / "bad.tar.xz", tmp_path / "new")
    assert not (tmp_path / "outside").exists()
