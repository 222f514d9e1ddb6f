"""Tracklets: the record, the readers, and every fault that an input can have, reported together."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from stmga.checks import check_tracklets
from stmga.readers import natural_key, read_folder, read_manifest, read_tracklets, write_manifest
from stmga.tracklets import Frame, Tracklet, TrackletError, load_cover


def picture(file: Path, colour=(200, 100, 50), size=(32, 64), mode="RGB") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file)
    return file


def noise(file: Path, seed=0, size=(32, 64)) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return pixels


def manifest(folder: Path, *rows: object) -> Path:
    path = folder / "index.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def faults_of(call, *args, **kwargs) -> list[str]:
    with pytest.raises(TrackletError) as caught:
        call(*args, **kwargs)
    return caught.value.faults


# ---- the record


def test_the_record_imports_without_pillow_torchvision_av():
    code = "import sys, stmga.tracklets; print(sorted({'PIL', 'torchvision', 'av'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_load_gives_the_pixels_in_the_order_asked(tmp_path):
    pixels = [noise(tmp_path / f"{i}.png", i, size=(20 + i, 40)) for i in range(4)]
    tracklet = Tracklet("a", [tmp_path / f"{i}.png" for i in range(4)])
    loaded = tracklet.load([3, 0, 3, -1])
    assert [tuple(x.shape) for x in loaded] == [(3, 40, 23), (3, 40, 20), (3, 40, 23), (3, 40, 23)]
    for x, i in zip(loaded, [3, 0, 3, 3], strict=True):
        assert x.dtype == torch.uint8
        assert x.is_contiguous()
        assert np.array_equal(x.permute(1, 2, 0).numpy(), pixels[i])
    assert len(tracklet.load()) == len(tracklet) == 4


def test_box_crops_and_is_clipped(tmp_path, caplog):
    pixels = noise(tmp_path / "a.png", size=(40, 60))
    boxes = [(5, 10, 20, 30), (-5, -5, 15, 15), (30.4, 50.6, 100, 100), (3.2, 3.2, 0.1, 0.1)]
    tracklet = Tracklet("a", [Frame(tmp_path / "a.png", box) for box in boxes])
    check_tracklets([tracklet])
    expected = [pixels[10:40, 5:25], pixels[:10, :10], pixels[51:, 30:], pixels[3:4, 3:4]]
    for x, crop in zip(tracklet.load(), expected, strict=True):
        assert np.array_equal(x.permute(1, 2, 0).numpy(), crop)
    (record,) = caplog.records  # said once for the input, with counts
    assert "2 of 4 boxes reach over the edge" in record.getMessage()


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 77, (77, 77, 77)),
        ("RGBA", (10, 20, 30, 40), (10, 20, 30)),
        ("P", 0, None),
        ("1", 1, (255, 255, 255)),
        ("I;16", 0x80FF, (128, 128, 128)),
        ("LA", (9, 100), (9, 9, 9)),
    ],
)
def test_every_kind_of_image_becomes_rgb(tmp_path, mode, colour, expected):
    file = picture(tmp_path / "a.png", colour, mode=mode)
    (on_disk,) = Tracklet("a", [file]).load()
    with Image.open(file) as image:
        (in_memory,) = Tracklet("a", [image]).load()
    assert on_disk.dtype == torch.uint8
    assert on_disk.shape == (3, 64, 32)
    assert torch.equal(on_disk, in_memory)
    assert expected is None or tuple(on_disk[:, 5, 5].tolist()) == expected


def test_exif_orientation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (32, 64)).save(tmp_path / "a.jpg", exif=exif)
    assert Tracklet("a", [tmp_path / "a.jpg"]).load()[0].shape == (3, 64, 32)


def test_pixels_in_memory_agree_whatever_holds_them():
    array = np.random.default_rng(0).integers(0, 256, (3, 40, 20, 3), dtype=np.uint8)
    array.flags.writeable = False
    kinds = {
        "array": array,
        "tensor": torch.tensor(array).permute(0, 3, 1, 2),
        "images": [Image.fromarray(frame) for frame in array],
        "arrays": list(array),
        "tensors": list(torch.tensor(array).permute(0, 3, 1, 2)),
    }
    loaded = {tracklet.id: tracklet.load() for tracklet in read_tracklets(kinds)}
    for frames in loaded.values():
        assert all(torch.equal(a, b) for a, b in zip(frames, loaded["array"], strict=True))
    loaded["array"][0].zero_()  # a copy: the user's array stays as it is
    assert array[0].any()


def test_float_frames_stay_float_and_nonsense_is_refused():
    good = torch.rand(2, 3, 8, 4, dtype=torch.float64)
    (tracklet,) = read_tracklets([good])
    assert tracklet.id == "0"
    assert torch.equal(tracklet.load()[1], good[1])
    assert tracklet.load()[1].dtype == torch.float64
    nonsense = {float("nan"): "NaN", float("inf"): "NaN or infinite", 255.0: "to 255", -2.1: "normalised"}
    for bad, words in nonsense.items():
        frames = good.clone()
        frames[1, 2, 3, 3] = bad
        tracklet = Tracklet("ann", frames)
        assert len(tracklet.load([0])) == 1
        (fault,) = faults_of(tracklet.load)
        assert 'tracklet "ann": frame 1' in fault
        assert words in fault


def test_row_and_cover(tmp_path, monkeypatch):
    files = [picture(tmp_path / f"{i}.png", (i, 0, 0)) for i in range(3)]
    monkeypatch.chdir(tmp_path)
    frames = [Path("0.png"), Frame(Path("1.png"), (2, 3, 10, 20)), "2.png"]
    tracklet = Tracklet("a", frames, person=np.int64(5), camera="door", time=1.5, extra={"role": "query"})
    row = json.loads(json.dumps(tracklet.row()))
    cover = {"file": str(files[1]), "box": [2, 3, 10, 20]}
    assert row == {"tracklet": "a", "person": 5, "camera": "door", "time": 1.5, "role": "query", "cover": cover}
    monkeypatch.chdir("/")
    image = load_cover(row)
    assert image.size == (10, 20)
    assert image.getpixel((0, 0)) == (1, 0, 0)
    in_memory = Tracklet("b", np.zeros((2, 4, 4, 3), np.uint8)).row()
    assert in_memory == {"tracklet": "b", "person": None, "camera": None}
    assert load_cover(in_memory) is None
    files[1].unlink()
    assert "1.png" in faults_of(load_cover, row)[0]


def test_truncated_image_passes_the_check_and_is_named_when_loaded(tmp_path):
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    noise(good)
    bad.write_bytes(good.read_bytes()[:-500])
    (tracklet,) = read_tracklets({"ann": [good, bad]})
    assert len(tracklet.load([0])) == 1
    (fault,) = faults_of(tracklet.load)
    assert 'tracklet "ann"' in fault
    assert str(bad) in fault
    assert "truncated" in fault


def test_error_survives_worker_processes_and_lists_twenty():
    error = pickle.loads(pickle.dumps(TrackletError([f"fault {i}" for i in range(1234)])))
    assert len(error.faults) == 1234
    lines = str(error).splitlines()
    assert lines[0] == "1,234 faults in the tracklets:"
    assert lines[-1].strip() == "... and 1,214 more"
    assert len(lines) == 22
    tracklet = pickle.loads(pickle.dumps(Tracklet("a", [Frame(Path("x.jpg"), (1, 2, 3, 4))], camera=3)))
    assert tracklet.frames == (Frame(Path("x.jpg"), (1, 2, 3, 4)),)


# ---- checks


def test_all_faults_of_objects_come_together(tmp_path):
    def missing(name):
        return [tmp_path / name]

    good = np.zeros((2, 8, 4, 3), np.uint8)
    bad = [
        Tracklet("array", np.zeros((2, 8, 4, 3), np.float32)),
        Tracklet("rank", np.zeros((8, 4, 3), np.uint8)),
        Tracklet("channels", torch.zeros(2, 8, 4, 3)),
        Tracklet("dtype", torch.zeros(2, 3, 8, 4, dtype=torch.int64)),
        Tracklet("empty", ()),
        Tracklet("no time", good[:0]),
        Tracklet("no width", good[:, :, :0]),
        Tracklet("kind", "a.jpg"),
        Tracklet("item", [good[0], 3]),
        Tracklet("item2", [good[0].astype(float)]),
        Tracklet("gone", missing("gone.jpg")),
        Tracklet("cameras", good, camera=[1, 2]),  # type: ignore[arg-type]
        Tracklet("person", good, person=1.5),  # type: ignore[arg-type]
        Tracklet("time", good, time=float("nan")),
        Tracklet("extra", good, extra={"cover": 1}),
        Tracklet("extra2", good, extra={"x": object()}),
        Tracklet(7, good),  # type: ignore[arg-type]
        Tracklet("array", good, camera=2),
    ]
    faults = faults_of(read_tracklets, [*bad, Tracklet("fine", good)])
    words = {
        "array": "uint8 array (t, h, w, 3), got float32 (2, 8, 4, 3)",
        "rank": "got uint8 (8, 4, 3)",
        "channels": "got torch.float32 (2, 8, 4, 3)",
        "dtype": "got torch.int64",
        "empty": "has no frames",
        "no time": "has no frames",
        "no width": "no pixels",
        "kind": "got str",
        "item": "frame 1: expected a path, a PIL image, an array or a tensor, got int",
        "item2": "frame 0: expected a uint8 array (h, w, 3)",
        "gone": "gone.jpg does not exist",
        "cameras": "two cameras in one tracklet",
        "person": "person must be",
        "time": "time must be",
        "extra": "'cover'",
        "extra2": "plain JSON",
        "7": "id must be a string",
    }
    for name, text in words.items():
        assert any(f'tracklet "{name}": ' in fault and text in fault for fault in faults), (name, faults)
    assert any('duplicate id "array"' in fault for fault in faults)
    assert len(faults) == len(words) + 1, faults


def test_no_tracklets_and_wrong_sources(tmp_path):
    for nothing in ([], {}, iter(())):
        assert "no tracklets" in faults_of(read_tracklets, nothing)[0]
    with pytest.raises(TypeError, match="got ndarray"):
        read_tracklets(np.zeros((2, 8, 4, 3), np.uint8))
    with pytest.raises(TypeError, match="got int"):
        read_tracklets(3)
    assert "does not exist" in faults_of(read_tracklets, tmp_path / "nowhere")[0]
    (tmp_path / "tracks.txt").write_text("")
    assert "read_mot" in faults_of(read_tracklets, tmp_path / "tracks.txt")[0]
    assert "it is empty" in faults_of(read_tracklets, manifest(tmp_path))[0]


def test_files_are_opened_once(tmp_path, monkeypatch):
    file = picture(tmp_path / "a.png")
    opened = []
    real = Image.open
    monkeypatch.setattr(Image, "open", lambda f, *a, **k: opened.append(f) or real(f, *a, **k))
    tracklets = [Tracklet(str(i), [Frame(file, (i, 0, 5, 5)) for i in range(4)]) for i in range(3)]
    check_tracklets(tracklets)
    read_tracklets(tracklets)
    assert opened == [file]


def test_a_bad_file_is_one_fault(tmp_path):
    tracklets = [Tracklet(str(i), [Frame(tmp_path / "gone.png", (0, 0, 5, 5))] * 3) for i in range(2)]
    (fault,) = faults_of(check_tracklets, tracklets)
    assert "gone.png does not exist (6 frames want it)" in fault


def test_unchecked_files_fail_one_by_one_when_loaded(tmp_path):
    good = picture(tmp_path / "set" / "good" / "1.png")
    (tmp_path / "set" / "zero").mkdir()
    (tmp_path / "set" / "zero" / "1.png").write_bytes(b"")
    path = manifest(tmp_path, {"tracklet": "gone", "frames": ["gone.png"]}, {"tracklet": "good", "frames": [str(good)]})
    box = {"edge": [Frame(good, (40, 0, 5, 5))]}
    for source, bad in [(tmp_path / "set", "zero"), (path, "gone"), (box, "edge")]:
        faults_of(read_tracklets, source)
        tracklets = {tracklet.id: tracklet for tracklet in read_tracklets(source, check_files=False)}
        (fault,) = faults_of(tracklets[bad].load)
        assert f'tracklet "{bad}": ' in fault
        assert "outside" in fault if bad == "edge" else "1.png" in fault or "gone.png" in fault
        assert "edge" in tracklets or tracklets["good"].load()
        faults_of(read_tracklets, tracklets.values())  # not taken for checked


# ---- folders


def test_folder_of_folders(tmp_path):
    for name in ("f10.jpg", "f2.jpg", "f1.JPG"):
        picture(tmp_path / "a" / name)
    picture(tmp_path / "b" / "x.png")
    (tmp_path / "a" / "track.json").write_text("{}")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "README").write_text("hello")
    a, b = read_tracklets(tmp_path)
    assert (a.id, b.id) == ("a", "b")
    assert [frame.file.name for frame in a.frames] == ["f1.JPG", "f2.jpg", "f10.jpg"]
    assert all(frame.file.is_absolute() for frame in a.frames)
    assert a.camera is None


def test_layout_names_the_levels(tmp_path):
    picture(tmp_path / "query" / "0002" / "c1_7" / "1.jpg")
    picture(tmp_path / "gallery" / "0002" / "c2_7" / "1.jpg")
    two = read_folder(tmp_path, layout="{role}/{person}/c{camera}_{tracklet}")
    assert [t.row() | {"cover": None} for t in two] == [
        {"tracklet": "gallery/0002/c2_7", "person": "0002", "camera": "2", "role": "gallery", "cover": None},
        {"tracklet": "query/0002/c1_7", "person": "0002", "camera": "1", "role": "query", "cover": None},
    ]
    with pytest.raises(ValueError, match="names nothing"):
        read_folder(tmp_path, layout="frames/{tracklet}")


def test_folder_faults_come_together(tmp_path):
    picture(tmp_path / "1" / "a" / "1.jpg")
    (tmp_path / "1" / "empty").mkdir()
    picture(tmp_path / "2" / "stray.jpg")
    picture(tmp_path / "3" / "a" / "deep" / "1.jpg")
    (tmp_path / "4" / "a").mkdir(parents=True)
    (tmp_path / "4" / "a" / "zero.jpg").write_bytes(b"")
    (tmp_path / "4" / "a" / "text.jpg").write_text("no image at all")
    faults = faults_of(read_folder, tmp_path, layout="{person}/{tracklet}")
    for path, words in {
        "1/empty": "no images",
        "2": "images above the level of tracklets (stray.jpg)",
        "3/a": 'folders below the level of tracklets (deep); layout is "{person}/{tracklet}", perhaps it is',
        "4/a/zero.jpg": "is empty (0 bytes)",
        "4/a/text.jpg": "cannot be opened as an image",
    }.items():
        assert any(str(tmp_path / path) in fault and words in fault for fault in faults), (path, faults)
    assert len(faults) == 5
    (tmp_path / "nothing").mkdir()
    assert "no tracklets" in faults_of(read_folder, tmp_path / "nothing")[0]
    assert "does not match" in " ".join(faults_of(read_folder, tmp_path, layout="p{person}/{tracklet}"))


@given(st.lists(st.text(alphabet="ab01239 ._²٣", max_size=6), max_size=8))
def test_natural_order_is_total_and_keeps_numbers(names):
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)


@given(st.text(alphabet="abc_", max_size=4), st.lists(st.integers(0, 10**9), unique=True), st.integers(1, 10))
def test_natural_order_counts(prefix, numbers, width):
    names = [f"{prefix}{number:0{width}d}.jpg" for number in numbers]
    assert sorted(names, key=natural_key) == [f"{prefix}{number:0{width}d}.jpg" for number in sorted(numbers)]


# ---- manifests


def test_manifest_with_boxes_extra_keys_and_relative_names(tmp_path):
    picture(tmp_path / "frames" / "1.jpg")
    elsewhere = picture(tmp_path / "far" / "2.jpg")
    path = manifest(
        tmp_path / "frames",
        {"tracklet": "a", "person": 2, "camera": None, "cameras?": [2, 3], "frames": ["1.jpg", str(elsewhere)]},
        "",
        {"frames": [{"file": "../far/2.jpg", "box": [1, 2, 3, 4]}], "tracklet": "b", "camera": "door", "time": 3},
    )
    a, b = read_tracklets(str(path))
    assert (a.person, a.camera, a.extra) == (2, None, {"cameras?": [2, 3]})
    assert a.frames == (Frame(tmp_path / "frames" / "1.jpg"), Frame(elsewhere))
    assert (b.person, b.camera, b.time) == (None, "door", 3)
    assert b.load()[0].shape == (3, 4, 3)


def test_manifest_faults_come_together_with_line_numbers(tmp_path):
    picture(tmp_path / "1.jpg")
    (tmp_path / "zero.jpg").write_bytes(b"")
    box = {"file": "1.jpg", "box": [0, 0, 8, 8]}
    rows = {
        '{"tracklet": "a", ': "no JSON",
        "[1, 2]": "expected an object",
        '{"tracklet": "c"}': 'the key "frames" is missing',
        '{"frames": ["1.jpg"]}': 'the key "tracklet" is missing',
        '{"tracklet": "e", "frames": "1.jpg"}': '"frames" must be a list, got str',
        '{"tracklet": "f", "frames": []}': "has no frames",
        '{"tracklet": "g", "frames": ["gone.jpg"]}': f"{tmp_path / 'gone.jpg'} does not exist",
        '{"tracklet": "h", "frames": ["zero.jpg"]}': "empty (0 bytes)",
        '{"tracklet": "i", "frames": ["1.jpg"], "camera": [1, 2]}': "two cameras in one tracklet",
        json.dumps({"tracklet": "j", "frames": [box | {"camera": 2}]}): "two cameras in one tracklet",
        json.dumps({"tracklet": "k", "frames": [box | {"box": [0, 0, 8, 0]}]}): "has no area",
        json.dumps({"tracklet": "l", "frames": [box | {"box": [32, 0, 8, 8]}]}): "is outside",
        json.dumps({"tracklet": "m", "frames": [box | {"box": [0, 0, 8]}]}): "box must be",
        json.dumps({"tracklet": "n", "frames": [box | {"bbox": 1}]}): "unknown key 'bbox'",
        json.dumps({"tracklet": "o", "frames": [box, 5]}): "frame 1: expected a file name",
        '{"tracklet": 5, "frames": ["1.jpg"]}': "id must be a string",
        '{"tracklet": "p", "frames": ["1.jpg"], "person": {}}': "person must be",
        '{"tracklet": "q", "frames": ["1.jpg"]}': None,
        '{"tracklet": "q", "frames": ["1.jpg"], "camera": 2}': '"q", two cameras in one tracklet (None, 2); first: ',
        '{"tracklet": "r", "frames": [{"file": "1.jpg", "box": [0, 0, NaN, 5]}]}': "no area",
        '{"tracklet": "s", "frames": ["."]}': "is a folder",
    }
    path = manifest(tmp_path, *rows)
    faults = faults_of(read_manifest, path)
    for number, words in enumerate(rows.values(), 1):
        mine = [fault for fault in faults if fault.startswith(f"{path}:{number}: ")]
        assert len(mine) == (words is not None), (number, words, faults)
        assert all(words in fault for fault in mine), (words, mine)
    assert f"{len(rows) - 1} faults" in str(TrackletError(faults))
    assert "cannot read" in faults_of(read_manifest, tmp_path / "none.jsonl")[0]


LABELS = st.none() | st.integers(-(2**53), 2**53) | st.text(max_size=5)
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
JSON = st.recursive(LEAVES, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=3), x, max_size=3))
KEYS = st.text(max_size=5).filter(lambda key: key not in ("tracklet", "person", "camera", "time", "frames", "cover"))
SIDES = st.floats(1, 30) | st.integers(1, 30)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(
        st.tuples(
            st.text(min_size=1, max_size=8), LABELS, LABELS, st.none() | st.floats(-1e9, 1e9),
            st.dictionaries(KEYS, JSON, max_size=3),
            st.lists(st.none() | st.tuples(SIDES, SIDES, SIDES, SIDES), min_size=1, max_size=3),
        ),
        min_size=1, max_size=4, unique_by=lambda row: row[0],
    )
)  # fmt: skip
def test_manifest_round_trip(tmp_path, rows):
    inside, outside = tmp_path / "m" / "frames 1", tmp_path / "o"
    files = [picture(inside / "ü é.png"), picture(outside / "1.png")]
    tracklets = [
        Tracklet(name, [Frame(files[i % 2], box) for i, box in enumerate(boxes)], person, camera, time, extra)
        for name, person, camera, time, extra, boxes in rows
    ]
    path = tmp_path / "m" / "index.jsonl"
    write_manifest(tracklets, path)
    back = read_manifest(path)
    assert [t.row() for t in back] == [t.row() for t in tracklets]
    assert [t.frames for t in back] == [t.frames for t in tracklets]
    write_manifest(back, tmp_path / "m" / "again.jsonl")
    assert (tmp_path / "m" / "again.jsonl").read_bytes() == path.read_bytes()


def test_manifest_of_file_names_that_are_not_utf8(tmp_path):
    file = tmp_path / "caf\udce9.png"  # latin-1 bytes on disk
    try:
        picture(file)
    except (OSError, UnicodeError):
        pytest.skip("this file system takes only UTF-8 names")
    write_manifest([Tracklet("a", [file])], tmp_path / "index.jsonl")
    assert read_manifest(tmp_path / "index.jsonl")[0].load()[0].shape == (3, 64, 32)


def test_manifest_moves_with_its_folder_and_refuses_memory(tmp_path):
    file = picture(tmp_path / "old" / "1.png")
    write_manifest([Tracklet("a", [file])], tmp_path / "old" / "index.jsonl")
    (tmp_path / "old").rename(tmp_path / "new")
    assert read_manifest(tmp_path / "new" / "index.jsonl")[0].frames == (Frame(tmp_path / "new" / "1.png"),)
    kept = (tmp_path / "new" / "index.jsonl").read_bytes()
    memory = Tracklet("b", np.zeros((1, 4, 4, 3), np.uint8))
    assert '"b" is in memory' in faults_of(write_manifest, [memory], tmp_path / "new" / "index.jsonl")[0]
    assert (tmp_path / "new" / "index.jsonl").read_bytes() == kept


def test_the_manifest_lines_of_the_docs_are_read(tmp_path):
    text = (Path(__file__).parent.parent / "docs" / "tracklets.md").read_text("utf-8")
    lines = text.split("```json\n")[1].split("```")[0]
    path = tmp_path / "index.jsonl"
    path.write_text(lines)
    first, second, third = read_manifest(path, check_files=False)
    assert first.row()["role"] == "gallery"
    assert second.frames == (Frame(tmp_path / "full" / "000031.jpg", (410, 96, 62, 148)),)
    assert third.frames == (Frame(tmp_path / "yard.mp4", (33, 20, 48.5, 110), 250),)
