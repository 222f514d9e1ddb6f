"""`stmga enrol`, `forget` and `watch`: known people in, known people found, and forgotten."""

import json

import pytest

from stmga import Gallery
from tests.support.gallery import calibrated
from tests.support.street import two_people
from tests.support.videos import filmed


@pytest.fixture(name="saved")
def saved_fixture(tmp_path):
    calibrated(tmp_path / "weights", 0.99999, 0.99)
    return tmp_path / "weights"


def test_the_commands_enrol_watch_and_forget(run, saved, tmp_path):
    pytest.importorskip("trackers")
    video = filmed(tmp_path / "door.mp4", two_people()[0])
    place = tmp_path / "people.db"
    options = ("--gallery", place, "--model", saved, "-q", "--detector", "motion")
    code, out, err = run("watch", video, *options)
    assert code == 1 and f"{place} does not exist" in err
    code, out, err = run("watch", video, *options, "--enrol-new")
    assert code == 0, err
    first = [json.loads(line) for line in out.splitlines()]
    assert first[0]["person"] == "new-1" and first[0]["verdict"] == "new" and first[0]["enrolled"]
    code, out, err = run("watch", video, *options)
    assert next(json.loads(line)["verdict"] for line in out.splitlines()) == "known"
    code, out, _ = run("forget", place, "new-1")
    assert code == 0 and "forgot    new-1: 1 tracklet, erased from the file" in out
    assert b'"new-1"' not in place.read_bytes()
    code, _, err = run("forget", place, "new-1")
    assert code == 1 and "has no person 'new-1'" in err


def test_photos_are_enrolled_by_name_and_by_folder(run, saved, place, tmp_path):
    crops = sorted(folder for folder in (place / "crops").rglob("*") if folder.is_dir() and any(folder.glob("*.jpg")))
    photos = tmp_path / "photos"
    for name, folder in zip(("ann", "ben"), crops, strict=False):
        (photos / name).mkdir(parents=True)
        for file in sorted(folder.glob("*.jpg"))[:2]:
            (photos / name / file.name).write_bytes(file.read_bytes())
    gallery = tmp_path / "people.db"
    code, out, err = run("enrol", gallery, photos, f"carl={next(crops[2].glob('*.jpg'))}", "--model", saved)
    assert code == 0, err
    assert "enrolled  3 persons with 5 tracklets: ann, ben, carl" in out
    with Gallery.open(gallery, read_only=True) as opened:
        assert opened.persons == {"ann": 2, "ben": 2, "carl": 1}
    before = gallery.read_bytes()
    wrong = {
        (photos / "ann",): "whose images are those of",
        (f"zoe={photos}",): "has folders (ann, ben); expected images of zoe",
        (next(crops[2].glob("*.jpg")),): "whose image is",
        (f"ann={photos / 'ann'}",): "2 pictures of these names enrolled already: ann/",
        ("zoe=nothing.jpg",): "nothing.jpg does not exist",
        (place / "all.safetensors", f"zoe={photos / 'ben'}"): "weights",
    }
    for sources, said in wrong.items():
        code, _, err = run("enrol", gallery, *sources, "--model", saved)
        assert code == 1 and said in err, err
    assert gallery.read_bytes() == before


def test_forgetting_is_all_or_nothing(run, saved, place, tmp_path):
    photo = next((place / "crops").rglob("*.jpg"))
    gallery = tmp_path / "people.db"
    assert run("enrol", gallery, f"ann={photo}", "--model", saved)[0] == 0
    code, _, err = run("forget", gallery, "ann", "anne")
    assert code == 1 and "has no person 'anne'; did you mean 'ann'?" in err
    with Gallery.open(gallery, read_only=True) as opened:
        assert opened.persons == {"ann": 1}
