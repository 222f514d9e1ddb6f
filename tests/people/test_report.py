"""The pages of people and of a ranked search: their data, pictures, folders and refusals."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from stmga import Embeddings, Gallery, link
from stmga.cli.main import main
from stmga.people.identities import Identities, Membership
from stmga.report import write_report, write_search_page
from stmga.report.identities import UNSURE, other_identities, page_data
from stmga.tracklets.manifest import write_manifest
from stmga.tracklets.tracklet import Frame, Tracklet
from tests.support.report import HOSTILE, calibration, data_in, embeddings_of, tracklets_of
from tests.support.vectors import people
from tests.support.videos import numbered, video_of


@pytest.fixture
def written(tmp_path):
    tracklets = tracklets_of(tmp_path)
    e = embeddings_of(tracklets)
    report = write_report(link(e), e, tmp_path / "people", tracklets=tracklets)
    return tracklets, e, report


def test_the_page_has_every_tracklet_with_its_identity_verdict_and_pictures(written, tmp_path):
    tracklets, e, report = written
    found = link(e)
    data = data_in(report.path)
    assert [row[0] for row in data["tracklets"]] == e.ids
    assert [row[1] for row in data["tracklets"]] == [row.identity for row in found]
    assert [row[2] for row in data["tracklets"]] == [i % 2 for i in range(12)]
    assert data["cameras"] == ["cam0", "cam1"]
    verdicts = [0 if row.similarity >= 0.6 and row.confidence >= 0.5 else UNSURE for row in found]
    assert [row[5] for row in data["tracklets"]] == verdicts
    assert data["pictures"] == [0b11111] * 12  # the middle frame and four more
    assert report.pictures == len(list((tmp_path / "people" / "pictures").glob("*.jpg"))) == 60
    with (
        Image.open(tmp_path / "people" / "pictures" / "000005.jpg") as picture,
        Image.open(tracklets[5].frames[3].file) as frame,
    ):
        assert picture.size == frame.size  # small ones are not scaled up
        assert np.abs(np.asarray(picture, int) - np.asarray(frame, int)).mean() < 6


def test_the_most_similar_other_identity_is_that_of_the_highest_mean_cosine():
    e = embeddings_of([Tracklet(f"t{i}", [np.zeros((4, 4, 3), np.uint8)]) for i in range(30)], noise=1.0)
    found = link(e, threshold=0.6)
    rows = [replace(row, alternative=None) for row in found]  # as linking gives them where no other is similar
    of_tracklets, of_identities = other_identities(rows, e)
    numbers = [row.identity for row in found]
    cosines = (e.vectors @ e.vectors.T).numpy()
    for row, own in enumerate(numbers):
        means = {k: cosines[row, [i for i in range(30) if numbers[i] == k]].mean() for k in set(numbers) - {own}}
        best = max(means, key=means.get)
        assert (of_tracklets.numbers[row], of_tracklets.cosines[row]) == (best, pytest.approx(means[best], abs=1e-4))
    assert len(of_identities.numbers) == len(found)


def test_a_tracklet_that_fits_another_identity_better_is_unsure_and_one_alone_has_no_verdict():
    e = Embeddings(torch.eye(3), [{"tracklet": t} for t in "abc"], digest="1f0c", calibration=calibration())
    rows = [
        Membership(identity=1, tracklet="a", similarity=0.9, confidence=0.4),
        Membership(identity=1, tracklet="b", similarity=0.9, confidence=0.8),
        Membership(identity=2, tracklet="c", confidence=0.6),
    ]
    data = page_data(Identities(rows, threshold=0.6), e)
    assert [row[5] for row in data["tracklets"]] == [1, 0, 2]


def test_identities_seen_at_the_same_time_by_one_camera_are_kept_apart_and_others_are_too_far():
    vectors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0, 0.0], [0.9, 0.4, 0.0], [0.0, 0.5, 0.9]]))
    items = [
        {"tracklet": "a", "camera": "door", "time": 10.0, "end_time": 20.0},
        {"tracklet": "b", "camera": "door", "time": 15.0, "end_time": 30.0},
        {"tracklet": "c", "camera": "hall", "time": 15.0, "end_time": 30.0},
    ]
    e = Embeddings(vectors, items, digest="1f0c")
    found = link(e, threshold=0.8)
    assert [row.identity for row in found] == [1, 2, 3]
    data = page_data(found, e)
    assert [(row[0], row[1], row[3]) for row in data["identities"]] == [(1, 2, 1), (2, 1, 1), (3, 2, 0)]
    assert [(row[7], row[9]) for row in data["tracklets"]] == [(2, 1), (1, 1), (2, 0)]
    items[1] |= {"time": 20.5}  # one after the other: then they are joined
    assert [row.identity for row in link(e, threshold=0.8)] == [1, 1, 2]


def test_times_are_by_clock_else_by_frames_of_each_video_else_unknown():
    e = embeddings_of([Tracklet(f"t{i}", [np.zeros((4, 4, 3), np.uint8)], camera="c") for i in range(3)])
    assert page_data(link(e), e)["times"] == ""
    for item, video in zip(e.items, ("/x/a.mp4", "/x/b.mp4", "/x/a.mp4"), strict=True):
        item |= {"video": video, "start": 5, "end": 9}
    frames = page_data(link(e), e)
    assert (frames["times"], frames["lanes"]) == ("frames", ["c a", "c b"])
    assert [row[-3:] for row in frames["tracklets"]] == [[0, 5, 9], [1, 5, 9], [0, 5, 9]]
    for k, item in enumerate(e.items[:2]):
        item |= {"time": 1.79e9 + 50 * k, "end_time": 1.79e9 + 50 * k + 7}
    clock = page_data(link(e), e)
    assert clock["times"] == "clock"
    assert [row[-3:] for row in clock["tracklets"]] == [
        [0, 1.79e9, 1.79e9 + 7],
        [0, 1.79e9 + 50, 1.79e9 + 57],
        [-1, 0, 0],
    ]


@pytest.mark.parametrize("name", HOSTILE)
def test_ids_labels_and_cameras_are_never_html_nor_paths(tmp_path, name):
    (tracklet,) = tracklets_of(tmp_path, 1)
    hostile = Tracklet(name, tracklet.frames, person=name, camera=name)
    e = embeddings_of([hostile, *tracklets_of(tmp_path, 2)])
    e.skipped = [{"tracklet": name, "reason": name}]
    e.model = name
    report = write_report(link(e), e, tmp_path / "people")
    page = report.path.read_text("utf-8")
    assert page.count("<script") == page.count("</script") == 2
    assert "<img" not in page
    assert data_in(report.path)["tracklets"][0][0] == name
    assert {file.name for file in (tmp_path / "people").iterdir()} == {"report.html", "pictures"}
    search = write_search_page(e[:1], Gallery(e).search(e[:1], 2), e, tmp_path / "search").path.read_text("utf-8")
    assert search.count("<script") == 2 and "<img" not in search


def test_the_same_call_reuses_pictures_and_others_are_refused(written, tmp_path):
    tracklets, e, report = written
    again = write_report(link(e), e, tmp_path / "people", tracklets=tracklets)
    assert (again.pictures, again.reused, again.replaced) == (60, 60, False)
    assert write_report(link(e, threshold=0.99), e, tmp_path / "people", tracklets=tracklets).replaced
    before = report.path.read_bytes()
    for change, words in (
        (
            lambda: write_report(link(e[:6]), e[:6], tmp_path / "people", tracklets=tracklets),
            "pictures of another report",
        ),
        (lambda: write_report(link(e), e, tmp_path / "people"), "detail_frames was 4, now 0"),
        (lambda: write_report(link(e), e, tmp_path / "people", pictures=False), "has pictures of an earlier report"),
        (lambda: write_report(link(e[:6]), e, tmp_path / "people", tracklets=tracklets), "not of these embeddings"),
    ):
        with pytest.raises(ValueError, match=words):
            change()
    assert report.path.read_bytes() == before
    other = tmp_path / "other"
    other.mkdir()
    (other / "report.html").write_text("<p>mine</p>")
    with pytest.raises(ValueError, match="was not written by stmga"):
        write_report(link(e), e, other)
    assert (other / "report.html").read_text() == "<p>mine</p>"


def test_half_a_picture_is_made_again(written, tmp_path):
    tracklets, e, _ = written
    half = tmp_path / "people" / "pictures" / "000003.jpg"
    whole = half.read_bytes()
    half.write_bytes(whole[:100])
    assert write_report(link(e), e, tmp_path / "people", tracklets=tracklets).reused == 59
    assert half.read_bytes() == whole


def test_what_cannot_be_read_is_an_empty_box_counted_and_said(tmp_path):
    tracklets = tracklets_of(tmp_path)
    e = embeddings_of(tracklets)
    tracklets[4].frames[3].file.write_bytes(b"no picture")
    e.items[7].pop("cover")
    e.skipped = [{"tracklet": "gone", "reason": "it was empty"}]
    report = write_report(link(e), e, tmp_path / "people")
    assert set(report.failed) == {"t4", "t7"}
    assert data_in(report.path)["pictures"] == [int(i not in (4, 7)) for i in range(12)]
    page = report.path.read_text("utf-8")
    assert "Pictures of 2 tracklets could not be made. First: t4" in page
    assert "Not embedded: gone: it was empty" in page
    assert "12 tracklets without times" in page


def test_videos_are_decoded_in_order_and_one_that_ends_early_costs_only_its_own_pictures(tmp_path):
    video = video_of(tmp_path / "a.mp4", range(30), "mpeg4")
    frames = [Frame(video, (0, 0, 96, 64), index) for index in (25, 3, 11, 80)]
    e = embeddings_of([Tracklet(f"t{k}", [frame], camera="a") for k, frame in enumerate(frames)])
    e.items.append({"tracklet": "none", "cover": {"file": str(tmp_path / "none.mp4"), "index": 0}})
    e = Embeddings(people(5), e.items, digest="1f0c", calibration=calibration())
    report = write_report(link(e), e, tmp_path / "people")
    assert list(report.failed) == ["t3", "none"]
    assert "a.mp4 ends before it" in report.failed["t3"]
    for k, index in enumerate((25, 3, 11)):
        with Image.open(tmp_path / "people" / "pictures" / f"00000{k}.jpg") as picture:
            assert np.abs(np.asarray(picture, int) - numbered(index)).mean() < 20


def test_no_pictures_writes_none(tmp_path):
    e = embeddings_of(tracklets_of(tmp_path))
    report = write_report(link(e), e, tmp_path / "people", pictures=False)
    assert [file.name for file in (tmp_path / "people").iterdir()] == ["report.html"]
    assert "pictures" not in data_in(report.path)
    assert "has no pictures, as asked" in report.path.read_text("utf-8")


def test_part_attentions_are_drawn_by_the_network_that_made_the_embeddings(tmp_path):
    import stmga

    tracklets = tracklets_of(tmp_path, 3)
    model = stmga.create_model("stmga_resnet18_c4").eval()
    e = embeddings_of(tracklets)
    own = Embeddings(e.vectors, e.items, digest=model.digest())
    found = link(own, threshold=0.6)
    report = write_report(found, own, tmp_path / "people", tracklets=tracklets, parts=["t1"], model=model)
    assert data_in(report.path)["parts"] == [1]
    with Image.open(tmp_path / "people" / "pictures" / "000001-parts.jpg") as picture:
        assert picture.height > 4 * 100  # a row of frames and four parts
    write_report(found, own, tmp_path / "people", tracklets=tracklets)
    assert not (tmp_path / "people" / "pictures" / "000001-parts.jpg").exists()
    for kwargs, words in (
        (dict(parts=["t1"]), "parts needs model"),
        (dict(parts=["t9"], model=model), "t9, which the embeddings do not have"),
        (dict(parts=["t1"], model=model, pictures=False), "not both"),
    ):
        with pytest.raises(ValueError, match=words):
            write_report(found, own, tmp_path / "new", tracklets=tracklets, **kwargs)
    with pytest.raises(ValueError, match="not the one that made the embeddings"):
        write_report(link(e), e, tmp_path / "new", tracklets=tracklets, parts=["t1"], model=model)


def test_wrong_parts_and_models_are_found_before_anything_is_written(tmp_path, monkeypatch):
    import stmga
    from stmga.cli import options, pages

    tracklets = tracklets_of(tmp_path, 3)
    made, other = (stmga.create_model("stmga_resnet18_c4").eval() for _ in range(2))
    e = embeddings_of(tracklets)
    e = Embeddings(e.vectors, e.items, digest=made.digest())
    monkeypatch.setattr(options, "trained", lambda name: ({"made": made, "other": other}[name], name))
    folder = tmp_path / "people"

    def can(parts, model):
        return pages.can_report(folder, e, tracklets, pictures=True, parts=parts, model=model)

    assert can(["t1"], "made") is True
    for parts, model, words in (
        (["t9"], "made", "t9, which the embeddings do not have"),
        (["t1"], "other", "not the one that made the embeddings"),
    ):
        with pytest.raises(ValueError, match=words):
            can(parts, model)
    assert not folder.exists()


def test_the_commands_write_their_pages(tmp_path, capsys):
    tracklets = tracklets_of(tmp_path)
    write_manifest(tracklets, tmp_path / "m.jsonl")
    e = embeddings_of(tracklets)
    file, out = str(e.save(tmp_path / "e.safetensors")), str(tmp_path / "out")
    assert main(["link", file, "-o", out, "--tracklets", str(tmp_path / "m.jsonl")]) == 0
    assert "report.html (60 pictures)" in capsys.readouterr().out
    assert main(["link", file, "-o", out]) == 1  # other settings
    assert main(["link", file, "-o", str(tmp_path / "bare"), "--no-pictures"]) == 0
    assert {path.name for path in (tmp_path / "bare").iterdir()} == {
        "identities.jsonl",
        "identities.csv",
        "report.html",
    }
    assert main(["search", file, file, "--html", str(tmp_path / "s"), "--top", "3"]) == 0
    data = data_in(tmp_path / "s" / "report.html")
    found = Gallery(e).search(e, 3)
    assert [[data["items"][row][0] for row, *_ in matches] for matches in data["matches"]] == [
        [match.id for match in row] for row in found
    ]
    assert [[v for *_, v in m] for m in data["matches"]] == [
        [calibration().verdict(x.similarity) for x in m] for m in found
    ]
    assert main(["link", file, "-o", out, "--parts", "t1"]) == 1
    assert "--parts needs --model" in capsys.readouterr().err


def test_without_jinja_the_command_writes_the_rest_and_says_why(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    e = embeddings_of(tracklets_of(tmp_path))
    file = str(e.save(tmp_path / "e.safetensors"))
    assert main(["link", file, "-o", str(tmp_path / "out")]) == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"identities.jsonl", "identities.csv"}
    assert 'left out: the report needs Jinja2: pip install "stmga[report]"' in capsys.readouterr().out
    assert main(["search", file, file, "--html", str(tmp_path / "s")]) == 1
    assert not (tmp_path / "s").exists()
