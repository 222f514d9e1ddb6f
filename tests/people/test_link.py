"""Linking: one identity for each person; what keeps tracklets apart, what holds them together, how sure it is."""

import csv
import json
import logging
import shlex
from collections import Counter

import pytest
import torch
from PIL import Image

import stmga
from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.cli.main import main
from stmga.data.walkers.render import render_walkers
from stmga.people import link, read_known
from tests.support.paths import ROOT
from tests.support.vectors import people

RATES = {1e-2: 0.4, 1e-3: 0.6, 1e-4: 0.8}
CALIBRATION = Calibration(
    thresholds=tuple(
        Threshold(false_match_rate=rate, similarity=similarity, true_match_rate=0.5)
        for rate, similarity in RATES.items()
    ),
    lower=0.2, impostor_pairs=9000, genuine_pairs=90, persons=40, digest="1f0c",
)  # fmt: skip


def embeddings(vectors, calibration=None, **columns):
    items = [{"tracklet": f"t{i}", "camera": i % 3} for i in range(len(vectors))]
    for name, values in columns.items():
        for item, value in zip(items, values, strict=True):
            item[name] = value
    return Embeddings(vectors, items, digest="1f0c", calibration=calibration)


def identities(found):
    return [row.identity for row in found]


def test_persons_are_found_and_numbered_by_their_first_tracklet():
    found = stmga.link(embeddings(people(60, each=5, noise=0.3)), threshold=0.6)
    assert identities(found) == [1 + i // 5 for i in range(60)]
    assert len(found) == 12
    assert found.alone == 0
    assert repr(found) == "Identities(12 from 60 tracklets, 0 with one tracklet)"


def test_the_order_of_tracklets_does_not_matter():
    e = embeddings(people(60, each=5, noise=0.8))
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1)).tolist()
    one, two = link(e, threshold=0.5), link(e.select(order), threshold=0.5)
    named = [{r.tracklet: r.identity for r in found} for found in (one, two)]
    groups = [{frozenset(t for t in n if n[t] == i) for i in n.values()} for n in named]
    assert groups[0] == groups[1]
    assert 1 < len(one) < 60


def test_shared_neighbours_link_a_pair_that_is_below_the_threshold():
    """Views of one person from all sides: the first and the last differ, and those between connect them."""
    angles = torch.linspace(0, 1.2, 9, dtype=torch.float32)
    views = torch.stack([angles.cos(), angles.sin()], dim=1)
    alone = embeddings(views[[0, 8]])
    assert identities(link(alone, threshold=0.6)) == [1, 2]
    found = link(embeddings(views), threshold=0.98)
    assert len(found) < len(link(embeddings(views), threshold=1.9))


def test_the_threshold_is_that_of_the_calibration():
    e = embeddings(people(20, each=2, noise=0.6), CALIBRATION)
    for rate, similarity in RATES.items():
        found = link(e, false_match_rate=rate)
        assert (found.threshold, found.false_match_rate) == (similarity, rate)
    assert link(e).false_match_rate == 1e-3
    assert link(e, threshold=0.7).false_match_rate is None
    assert len(link(e, false_match_rate=1e-2)) <= len(link(e)) <= len(link(e, false_match_rate=1e-4))


def test_one_camera_at_one_time_is_two_people():
    same = people(1).expand(4, -1)
    frames = {"video": ["a.mp4"] * 4, "start": [0, 5, 10, 11], "end": [9, 9, 19, 30], "camera": ["door"] * 4}
    found = link(embeddings(same, **frames), threshold=0.6)
    first, second, third, fourth = identities(found)
    assert first != second
    assert third != fourth
    assert len(found) == 2  # the two that leave, and return
    assert len(link(embeddings(same, **frames | {"camera": [1, 2, 3, 4]}), threshold=0.6)) == 1
    assert len(link(embeddings(same, **frames | {"video": ["a", "b", "c", "d"]}), threshold=0.6)) == 1


def test_seconds_hold_over_all_videos_of_a_camera():
    same = people(1).expand(2, -1)
    e = embeddings(same, camera=["door"] * 2, video=["a", "b"], start=[0, 0], end=[9, 9])
    assert len(link(e, threshold=0.6)) == 1
    for item, time in zip(e.items, (100.0, 100.5), strict=True):
        item.update(time=time, end_time=time + 1)
    assert len(link(e, threshold=0.6)) == 2


def test_what_has_no_times_is_counted_and_said(caplog):
    e = embeddings(people(4), start=[0, 0, None, None], end=[3, 3, 3, None], video=["a", "b", "a", "a"])
    with caplog.at_level(logging.WARNING):
        assert link(e, threshold=0.6).without_times == 2
    assert "2 of 4 tracklets have no times" in caplog.text
    caplog.clear()
    assert link(e.select([0, 1]), threshold=0.6).without_times == 0
    assert not caplog.text


def test_corrections_hold():
    vectors = people(10, each=5, noise=0.2)
    known = {"t0": "ann", "t1": "bob", "t9": "ann"}
    found = link(embeddings(vectors), threshold=0.6, known=known)
    by = {row.tracklet: row.identity for row in found}
    assert by["t0"] == by["t9"] != by["t1"]
    times = {"video": ["a"] * 10, "start": [0] * 10, "end": [9] * 10, "camera": [1] * 10}
    both = link(embeddings(vectors, **times), threshold=0.6, known={"t0": 7, "t1": 7})
    assert identities(both)[:2] == [1, 1]  # the correction wins over the times
    assert len(both) == 9


def test_confidence_tells_sure_from_unsure():
    a, b = torch.eye(2, dtype=torch.float32)
    between = torch.nn.functional.normalize(a + b, dim=0)
    vectors = torch.stack([a, a, a, b, b, b, between])
    rows = link(embeddings(vectors), threshold=0.6).rows
    assert rows[-1].confidence < min(row.confidence for row in rows[:3])
    alone = link(embeddings(torch.eye(3, dtype=torch.float32)), threshold=0.6).rows
    assert [row.similarity for row in alone] == [None] * 3
    assert all(row.confidence > 0.6 for row in alone)
    pair = link(embeddings(torch.stack([a, a])), threshold=0.6).rows
    assert [row.similarity for row in pair] == [1.0, 1.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "no calibration"),
        ({"threshold": 0.5, "false_match_rate": 1e-3}, "not both"),
        ({"threshold": 3}, "must be a score in -1..2"),
        ({"threshold": float("nan")}, "must be a score in -1..2"),
        ({"threshold": 0.5, "known": {"t77": 1}}, '"t77" is given, but there is no such tracklet'),
    ],
)
def test_refusals(change, words):
    with pytest.raises(ValueError, match=words):
        link(embeddings(people(4)), **change)


def test_what_cannot_be_linked():
    with pytest.raises(ValueError, match="no tracklets"):
        link(embeddings(people(4)).select([]), threshold=0.5)
    with pytest.raises(ValueError, match="measured are"):
        link(embeddings(people(4), CALIBRATION), false_match_rate=0.3)
    for start, end in ((5, 4), ("a", 4), (True, 4)):
        e = embeddings(people(4)[:1], video=["a"], start=[start], end=[end])
        with pytest.raises(ValueError, match='tracklet "t0"'):
            link(e, threshold=0.5)


def test_the_command_writes_both_files_and_takes_corrections(tmp_path, capsys):
    vectors = people(20, each=4, noise=0.2)
    files = []
    for i, rows in enumerate((range(10), range(10, 20))):
        files.append(str(embeddings(vectors, CALIBRATION).select(rows).save(tmp_path / f"{i}.safetensors")))
    out = tmp_path / "new" / "people"
    assert main(["link", *files, "-o", str(out)]) == 0
    text = capsys.readouterr().out
    assert "20 tracklets of 3 known cameras" in text
    assert "from a score of 0.600 (false-match rate 0.001)" in text
    assert "persons   5, 0 of them with one tracklet" in text
    lines = [json.loads(line) for line in (out / "identities.jsonl").read_text().splitlines()]
    assert [line["identity"] for line in lines] == [1 + i // 4 for i in range(20)]
    assert all("start" not in line for line in lines)
    table = list(csv.DictReader((out / "identities.csv").open()))
    assert [(row["tracklet"], int(row["identity"])) for row in table] == [(r["tracklet"], r["identity"]) for r in lines]
    lines[0]["person"], lines[1]["person"], lines[19]["person"] = "ann", "bob", "ann"
    corrected = tmp_path / "corrected.jsonl"
    corrected.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_known(corrected) == {"t0": "ann", "t1": "bob", "t19": "ann"}
    assert main(["link", *files, "-o", str(out), "--known", str(corrected), "--threshold", "0.6"]) == 0
    again = [json.loads(line)["identity"] for line in (out / "identities.jsonl").read_text().splitlines()]
    assert again[0] == again[19] != again[1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "1: not valid JSON"),
        ("[1]", "1: expected an object"),
        ('{"person": "ann"}', "1: expected an object"),
        ('{"tracklet": "a", "person": [1]}', "1: person must be text or an integer"),
        ('{"tracklet": "a", "person": 1}\n\n{"tracklet": "a", "person": 2}', '3: tracklet "a" has two persons'),
    ],
)
def test_known_persons_are_read_or_refused_by_line(tmp_path, line, words):
    file = tmp_path / "known.jsonl"
    file.write_text(line)
    with pytest.raises(ValueError, match=words):
        read_known(file)


def test_the_command_refuses_before_it_works(tmp_path, capsys):
    file = str(embeddings(people(4)).save(tmp_path / "e.safetensors"))
    (tmp_path / "a_file").write_text("")
    for command, words in (
        (["link", file, "-o", str(tmp_path / "a_file")], "is a file"),
        (["link", file, "-o", str(tmp_path / "p"), "--known", str(tmp_path / "none")], "does not exist"),
        (["link", file, "-o", str(tmp_path / "p")], "pass --threshold"),
        (["link", file, "-o", str(tmp_path / "p"), "--threshold", "0.5", "--false-match-rate", "0.1"], "not both"),
        (["link", str(tmp_path / "none"), "-o", str(tmp_path / "p")], "no embeddings file"),
    ):
        assert main(command) == 1
        assert words in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_the_first_commands_of_the_page_run(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "use" / "linking.md").read_text("utf-8")
    commands = page.split("```bash\n")[1].split("```")[0].splitlines()
    assert [shlex.split(line)[:2] for line in commands] == [["stmga", "embed"], ["stmga", "link"]]
    for tracklet in render_walkers(2, cameras=2, tracklets=1, frames=(2, 2), seed=3):
        folder = tmp_path / "cameras" / ("door", "hall")[tracklet.camera] / str(tracklet.person)
        folder.mkdir(parents=True)
        for i, frame in enumerate(tracklet.load()):
            Image.fromarray(frame.permute(1, 2, 0).numpy()).save(folder / f"{i}.jpg")
    monkeypatch.chdir(tmp_path)
    for line in commands:
        assert main(shlex.split(line)[1:]) == 0
    rows = [json.loads(line) for line in (tmp_path / "people" / "identities.jsonl").read_text().splitlines()]
    assert [row["camera"] for row in rows] == ["door", "door", "hall", "hall"]
    size = Counter(row["identity"] for row in rows)
    for row in rows:  # a similarity only where there is another tracklet to compare with
        fields = ["identity", "tracklet", "camera", *["similarity"] * (size[row["identity"]] > 1), "confidence"]
        assert list(row)[: len(fields)] == fields
