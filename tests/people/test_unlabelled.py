"""Thresholds without labels: halves of tracklets, and people who are seen at the same time."""

import itertools
import logging

import numpy as np
import pytest
import torch

from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.cli.main import main
from stmga.people.unlabelled import calibrate_unlabelled
from stmga.tracklets.split import evenly, halves
from stmga.tracklets.tracklet import Frame, Tracklet
from tests.support.vectors import people


def of_halves(n=40, seed=0, **columns):
    """Two halves of ``n`` tracklets, which are all different people, ten at a time before each of two cameras."""
    vectors = people(2 * n, each=2, noise=0.1, seed=seed)
    items = []
    for i, half in itertools.product(range(n), (1, 2)):
        when = {"start": 100 * (i // 20), "end": 100 * (i // 20) + 99}
        items.append({"tracklet": f"t{i}/{half}", "half_of": f"t{i}", "camera": i % 2, "video": f"v{i % 2}", **when})
        items[-1].update({key: value(i) for key, value in columns.items()})
    return Embeddings(vectors, items, digest="1f0c")


def by_hand(e):
    """Similarities of the pairs of two people, and of halves."""
    cosines = (e.vectors @ e.vectors.T).numpy()
    two, one = [], []
    for (i, a), (j, b) in itertools.combinations(enumerate(e.items), 2):
        if a["half_of"] == b["half_of"]:
            one.append(cosines[i, j])
        elif a["camera"] == b["camera"] and a["start"] <= b["end"] and b["start"] <= a["end"]:
            two.append(cosines[i, j])
    return np.array(two), np.array(one)


def test_thresholds_are_those_of_the_pairs():
    e = of_halves()
    two, one = by_hand(e)
    found = calibrate_unlabelled(e)
    assert (found.impostor_pairs, found.genuine_pairs, found.persons) == (len(two), len(one), 40) == (720, 40, 40)
    (point,) = found.thresholds
    assert point.false_match_rate == 1e-2
    assert (two >= point.similarity).mean() <= 1e-2 < (two >= point.similarity - 2e-5).mean()
    assert point.true_match_rate == pytest.approx((one >= point.similarity).mean())
    assert "720 pairs seen at the same time" in found.data
    assert found.verdict(point.similarity - 0.01) == "other"


def test_a_clock_and_frames_count_a_pair_once():
    e = of_halves(time=lambda i: 1000.0 + i // 20, end_time=lambda i: 1000.5 + i // 20)
    assert calibrate_unlabelled(e).impostor_pairs == 720


def test_the_lower_end_is_that_of_the_weights():
    """Halves of one stay are far more alike than one person in two cameras: they must not decide what is "other"."""
    e = of_halves()
    point = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.5)
    e.calibration = Calibration(thresholds=(point,), lower=0.2, impostor_pairs=1, genuine_pairs=1, persons=1)
    found = calibrate_unlabelled(e)
    assert found.lower == 0.2
    assert found.verdict(0.25) == "unsure"


def test_the_most_alike_pair_is_named(caplog):
    e = of_halves()
    e.vectors[2] = e.vectors[4 * 2]  # tracklets 1 and 4 would be in different cameras; 0 and 4 are in one
    e.vectors[0] = e.vectors[8]
    with caplog.at_level(logging.INFO):
        calibrate_unlabelled(e)
    assert "t0/1 and t4/1, 1.000" in caplog.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"half_of": lambda i: None}, "stmga embed --halves"),
        ({"video": lambda i: None}, "needs at least 100 pairs of different persons, got 0"),
        ({"half_of": lambda i: i // 20}, "needs at least 100 pairs"),
        ({"start": lambda i: 9, "end": lambda i: 1}, "ends at 1, before it starts at 9"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(ValueError, match=words):
        calibrate_unlabelled(of_halves(**change))


def test_one_half_is_nothing_to_compare():
    e = of_halves(100)
    with pytest.raises(ValueError, match="no tracklet has both"):
        calibrate_unlabelled(e.select([name.endswith("/1") for name in e.ids]))


def test_halves_of_tracklets(tmp_path, caplog):
    video = tmp_path / "a.mp4"
    whole = Tracklet("a", [Frame(video, (0, 0, 4, 8), k) for k in range(5)], person="ann", camera="door", time=2.0)
    with caplog.at_level(logging.WARNING):
        first, second = halves([whole, Tracklet("b", [tmp_path / "1.jpg"])])
    assert "1 tracklet of one frame left out" in caplog.text
    assert [(t.id, t.person, t.camera, t.time, t.extra) for t in (first, second)] == [
        (f"a/{k}", "ann", "door", 2.0, {"half_of": "a"}) for k in (1, 2)
    ]
    assert [(t.row()["start"], t.row()["end"]) for t in (first, second)] == [(0, 1), (2, 4)]
    assert evenly(whole, 5) is whole
    some = evenly(whole, 2)
    assert [frame.index for frame in some.frames] == [1, 3]
    assert (some.row()["start"], some.row()["end"]) == (0, 4)  # of the whole
    assert [frame.index for frame in evenly(whole, 1).frames] == [2]
    clip = torch.arange(6, dtype=torch.uint8)[:, None, None, None].expand(6, 3, 8, 4)
    assert evenly(Tracklet("c", clip), 3).frames[:, 0, 0, 0].tolist() == [1, 3, 5]


def test_the_command_writes_them_into_another_file(tmp_path, capsys):
    of_halves().save(tmp_path / "halves.safetensors")
    Embeddings(people(4), [{"tracklet": f"t{i}"} for i in range(4)], digest="1f0c").save(tmp_path / "all.safetensors")
    command = ["calibrate", str(tmp_path / "halves.safetensors"), "--for", str(tmp_path / "all.safetensors")]
    assert main(command) == 1
    assert "labelled" in capsys.readouterr().err
    assert main([*command, "--unlabelled"]) == 0
    text = capsys.readouterr().out
    assert "40 tracklets that one camera saw at the same time as others: 720 pairs of different persons" in text
    calibration = Embeddings.load(tmp_path / "all.safetensors").calibration
    assert calibration is not None
    assert calibration.impostor_pairs == 720
