"""Thresholds: against all pairs counted one by one, and kept with the embeddings in files and galleries."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga import Embeddings, Gallery
from stmga.metrics import Calibration, calibrate, rerank


def labelled(n=60, persons=15, cameras=(1, 2, 3), seed=0, dim=16, noise=0.5):
    random = np.random.default_rng(seed)
    who = random.integers(0, persons, n)
    x = random.normal(size=(persons, dim))[who] + noise * random.normal(size=(n, dim))
    where = [cameras[k] for k in random.integers(0, len(cameras), n)]
    rows = enumerate(zip(who.tolist(), where, strict=True))
    items = [{"tracklet": f"t{i}", "person": p, "camera": c} for i, (p, c) in rows]
    return Embeddings(torch.from_numpy(x).float(), items, digest="1f0c")


def pairs(embeddings):
    """(impostor similarities, genuine similarities), pair by pair."""
    x = torch.nn.functional.normalize(embeddings.vectors.double())
    known = any(camera is not None for camera in embeddings.cameras)
    impostors, genuine = [], []
    for i, a in enumerate(embeddings.items):
        for j, b in enumerate(embeddings.items[:i]):
            if a["person"] is None or b["person"] is None:
                continue
            similarity = float(x[i] @ x[j])
            if str(a["person"]) != str(b["person"]):
                impostors.append(similarity)
            elif not known or (None not in (a["camera"], b["camera"]) and str(a["camera"]) != str(b["camera"])):
                genuine.append(similarity)
    return np.array(impostors), np.array(genuine)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cameras=st.sampled_from([(None,), (1, "1", 2), (None, 1, 2)]),
    block=st.sampled_from([None, 1, 7]),
)
def test_agrees_with_all_pairs(seed, cameras, block):
    embeddings = labelled(seed=seed, cameras=cameras)
    embeddings.items[3]["person"] = None
    impostors, genuine = pairs(embeddings)
    found = calibrate(embeddings, false_match_rates=[0.01, 0.1], block=block)
    assert (found.impostor_pairs, found.genuine_pairs) == (len(impostors), len(genuine))
    assert [point.false_match_rate for point in found.thresholds] == [0.1, 0.01]
    for point in found.thresholds:
        assert np.mean(impostors >= point.similarity + 1e-6) <= point.false_match_rate
        assert np.mean(impostors >= point.similarity - 2.1e-5) > point.false_match_rate  # the lowest that will do
        assert point.true_match_rate == pytest.approx(np.mean(genuine >= point.similarity), abs=1.01 / len(genuine))
    assert np.mean(genuine >= found.lower - 1e-6) >= 0.95
    for similarity, false, true in found.roc:
        assert false == pytest.approx(np.mean(impostors >= similarity), abs=2.01 / len(impostors))
        assert true == pytest.approx(np.mean(genuine >= similarity), abs=2.01 / len(genuine))
    assert len(found.roc) <= 200
    assert sorted(found.roc, reverse=True) == list(found.roc)


def test_a_pair_at_the_threshold_is_the_same():
    found = calibrate(labelled(), false_match_rates=[0.1, 0.01])
    point = found.threshold(0.01)
    assert found.threshold() == point  # nearest to 1e-3
    assert found.verdict(point.similarity) == "same"
    assert found.verdict(point.similarity - 1e-4) in ("unsure", "other")
    assert found.verdict(-1) == "other"
    assert found.verdict(point.similarity - 1e-4, false_match_rate=0.1) == "same"
    with pytest.raises(ValueError, match=r"no threshold for the false-match rate 0.5; measured are \[0.1, 0.01\]"):
        found.verdict(0, false_match_rate=0.5)


def test_json_both_ways():
    found = calibrate(labelled(), false_match_rates=[0.01])
    assert Calibration.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    with pytest.raises(ValueError, match="no calibration that this stmga knows"):
        Calibration.from_dict({"thresholds": []})


def test_it_travels_with_the_embeddings(tmp_path, caplog):
    embeddings = labelled()
    embeddings.save(tmp_path / "plain")
    assert Embeddings.load(tmp_path / "plain").calibration is None
    embeddings.calibration = calibrate(embeddings, false_match_rates=[0.01])
    embeddings.save(tmp_path / "x")
    loaded = Embeddings.load(tmp_path / "x")
    assert loaded.calibration == loaded.select([0, 1]).calibration == embeddings.calibration
    gallery = Gallery(loaded.select([0, 1]))
    gallery.add(labelled().select([2, 3]))  # without one: the gallery keeps its own
    assert gallery.calibration == gallery.embeddings.calibration == embeddings.calibration
    assert not caplog.records


def test_it_is_not_lost_without_a_word(caplog):
    caplog.set_level(logging.WARNING)
    embeddings = labelled()
    found = calibrate(embeddings, false_match_rates=[0.01])
    other = Embeddings(embeddings.vectors, embeddings.items, "other", calibration=found)
    assert other.calibration is None
    assert "measured with weights 1f0c and is dropped" in caplog.text
    gallery = Gallery(Embeddings(torch.eye(2), [{"tracklet": "a"}, {"tracklet": "b"}], "1f0c", calibration=found))
    second = replace(found, lower=0.0)
    gallery.add(Embeddings(torch.eye(2), [{"tracklet": "c"}, {"tracklet": "d"}], "1f0c", calibration=second))
    assert gallery.calibration is None
    assert "2 different calibrations" in caplog.text


def test_mistakes_are_named():
    with pytest.raises(
        ValueError, match=r"1e-05 needs at least 100,000 pairs of different persons, got 1,.*60 labelled"
    ):
        calibrate(labelled(), false_match_rates=[1e-5])
    apart = labelled()
    for item in apart.items:
        item["camera"] = item["person"]
    with pytest.raises(ValueError, match="from different known cameras"):
        calibrate(apart, false_match_rates=[0.1])
    with pytest.raises(ValueError, match=r"of one camera only \(1\).*\{person\}/\{place\}/\{tracklet\}"):
        calibrate(labelled(cameras=(1,)), false_match_rates=[0.1])
    single = Embeddings(torch.eye(15), [{"tracklet": f"t{i}", "person": i} for i in range(15)], digest="1f")
    with pytest.raises(ValueError, match="no person has two tracklets"):
        calibrate(single)
    with pytest.raises(ValueError, match="must be between 0 and 1"):
        calibrate(labelled(), false_match_rates=[5])
    with pytest.raises(ValueError, match="got 0 from 0 labelled tracklets"):
        calibrate(Embeddings(torch.eye(2), [{"tracklet": "a"}, {"tracklet": "b"}], "1f"), false_match_rates=[0.1])


def test_default_rates_that_cannot_be_measured_are_skipped_and_named(caplog):
    """60 tracklets of 15 persons have fewer than 10,000 pairs: 0.0001 is left out; a rate that was asked for is not."""
    embeddings = labelled()
    with caplog.at_level(logging.WARNING):
        found = calibrate(embeddings)
    assert 1000 <= found.impostor_pairs < 10_000
    assert found == calibrate(embeddings, false_match_rates=[0.01, 0.001])
    assert "not measured: 0.0001; a false-match rate of 0.0001 needs at least 10,000 pairs" in caplog.text
    caplog.clear()
    assert calibrate(labelled(n=30)).thresholds[-1].false_match_rate == 0.01
    assert "not measured: 0.001, 0.0001; a false-match rate of 0.001 needs at least 1,000 pairs" in caplog.text
    caplog.clear()
    with pytest.raises(ValueError, match=r"0.0001 needs at least 10,000 pairs.*--rates, or false_match_rates="):
        calibrate(embeddings, false_match_rates=[0.01, 0.001, 0.0001])
    with pytest.raises(ValueError, match=r"0.01 needs at least 100 pairs .* from 12 labelled tracklets.*--rates"):
        calibrate(labelled(n=12))
    calibrate(labelled(n=200, persons=30))
    assert not caplog.records


@pytest.mark.parametrize("block", [0, -1, 1.5, True])
def test_a_block_is_a_whole_number(block):
    vectors = torch.nn.functional.normalize(torch.randn(30, 4, generator=torch.Generator().manual_seed(0)))
    known = Embeddings(vectors, [{"tracklet": str(i), "person": i % 3} for i in range(30)], digest="d")
    with pytest.raises(ValueError, match="block must be a whole number of at least 1"):
        calibrate(known, block=block)
    with pytest.raises(ValueError, match="block must be a whole number of at least 1"):
        list(rerank(vectors[:5], vectors, block=block))
