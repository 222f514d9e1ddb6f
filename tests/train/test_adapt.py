"""Adaptation without labels: what it writes, that it resumes, how it stops, and what it refuses."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import stmga
from stmga.data.walkers.render import render_walkers
from stmga.hub.records import WeightsError, read_record
from stmga.tracklets.tracklet import Tracklet
from stmga.train import NotFiniteError, StoppedError, Trainer, TrainingError, adapt, whitening_of
from stmga.train.adaptation.loop import best_of
from stmga.train.adaptation.site import Site
from tests.support.adapt import QUICK, site, small
from tests.support.train import assert_same, stop_at


@pytest.fixture(scope="module", name="model")
def model_fixture():
    return small()


@pytest.fixture(scope="module", name="tracklets")
def tracklets_fixture():
    return site()


@pytest.fixture(scope="module", name="whole")
def whole_fixture(model, tracklets, tmp_path_factory):
    """An adaptation that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "site"
    return adapt(model, tracklets, folder, QUICK, name="yard", started_from="small")


def test_it_writes_a_row_for_every_round_and_keeps_the_best(whole):
    rows = [json.loads(line) for line in (whole.folder / "rounds.jsonl").read_text().splitlines()]
    assert rows == whole.rounds
    assert [row["round"] for row in rows] == [0, 1, 2]
    assert whole.best == max(range(3), key=lambda number: rows[number]["score"])
    for row in rows:
        assert row["score"] == pytest.approx((row["agreement"] + row["silhouette"]) / 2, abs=1e-3)
        assert row["margin"] is None  # nothing is known of times
        assert 4 <= row["identities"] <= 56
        assert row["trained_on"] == 50  # nine tenths
    assert "same_as_before" in rows[1]


def test_the_record_says_where_the_weights_come_from_and_that_no_label_was_used(whole, model):
    best = stmga.STMGA.from_pretrained(whole.weights)
    record, parent = best.record, model.record
    assert whole.best > 0
    assert best.digest() != model.digest()
    assert model.config.clip_length == best.config.clip_length != QUICK.clip_length  # which is for training
    assert (record.licence, record.terms) == (parent.licence, parent.terms)
    assert record.parent == parent.name
    assert "yard: 56 tracklets, adapted without labels" in record.training_data
    assert parent.training_data in record.training_data
    assert record.stages[:-1] == parent.stages
    assert record.stages[-1]["data"] == "yard, without labels"
    assert record.stages[-1]["rounds"] == f"mean of {whole.best} of 3 steps, then 30% of the start"
    assert record.metrics == ()
    assert record.calibration.digest == best.digest()
    assert "not on labels" in record.calibration.data
    card = (whole.weights / "README.md").read_text()
    assert "without labels" in card
    assert "linking found, not on labels" in card


def test_persons_are_not_used(whole, model, tracklets, tmp_path):
    """The same tracklets with shuffled persons give the same weights."""
    others = [replace(t, person=str(i % 3)) for i, t in enumerate(tracklets)]
    again = adapt(model, others, tmp_path / "site", QUICK, name="yard", started_from="small")
    assert_same(again.folder / "round-2", whole.folder / "round-2")


def test_the_network_that_is_given_does_not_change(whole, model):
    assert model.digest() == small().digest()
    assert not model.training


def test_stopped_in_the_second_round_it_resumes_and_ends_the_same(whole, model, tracklets, tmp_path, monkeypatch):
    arguments = (model, tracklets, tmp_path / "site", QUICK)
    words = {"name": "yard", "started_from": "small"}
    epochs = stop_at(monkeypatch, 5)
    with pytest.raises(StoppedError, match="run the same command to resume"):
        adapt(*arguments, **words)
    assert len(epochs) == 5
    monkeypatch.undo()
    shown = []
    again = adapt(*arguments, **words, watch=shown.append)
    assert shown == again.rounds
    assert [_timeless(row) for row in again.rounds] == [_timeless(row) for row in whole.rounds]
    assert_same(again.folder / "round-2", whole.folder / "round-2")
    assert (again.weights / "model.safetensors").read_bytes() == (whole.weights / "model.safetensors").read_bytes()


def _timeless(row):
    return {key: value for key, value in row.items() if key != "seconds"}


def test_a_finished_adaptation_computes_nothing_again(whole, model, tracklets, monkeypatch):
    monkeypatch.setattr(stmga.TrackletEmbedder, "embed", None)
    again = adapt(model, tracklets, whole.folder, QUICK, name="yard", started_from="small")
    assert again.rounds == whole.rounds


def test_what_is_kept_is_the_mean_of_the_rounds_and_a_share_of_the_start(whole, model):
    assert whole.best == 2
    folders = (whole.folder / "round-1/last", whole.folder / "round-2/last", whole.weights)
    networks = (model, *(stmga.STMGA.from_pretrained(folder) for folder in folders))
    name = "backbone.layer3.0.conv1.weight"
    start, first, second, kept = (network.state_dict()[name] for network in networks)
    assert not torch.equal(first, second)
    torch.testing.assert_close(kept, 0.3 * start + 0.35 * first + 0.35 * second, rtol=0, atol=1e-7)


def test_a_round_that_was_deleted_is_not_resumed_without_it(model, tracklets, tmp_path, monkeypatch):
    stop_at(monkeypatch, 5)  # in the second round
    with pytest.raises(StoppedError):
        adapt(model, tracklets, tmp_path / "site", QUICK)
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "site" / "round-1")
    with pytest.raises(WeightsError, match=r"There is no folder .*round-1/last"):
        adapt(model, tracklets, tmp_path / "site", QUICK)


def test_a_round_that_is_not_finite_ends_it_with_the_last_good_one(model, tracklets, tmp_path, monkeypatch):
    real = Trainer.step
    count = []

    def broken(self, batch, epoch, request=None):
        count.append(1)
        if len(count) == 5:
            raise NotFiniteError("not finite at step 2")
        return real(self, batch, epoch, request)

    monkeypatch.setattr(Trainer, "step", broken)
    found = adapt(model, tracklets, tmp_path / "site", QUICK)
    assert "round 2 diverged" in found.stopped
    assert "score" not in found.rounds[2]
    assert found.best == best_of(found.rounds[:2])
    assert stmga.STMGA.from_pretrained(found.weights).neck.weight.isfinite().all()


def test_a_folder_of_other_tracklets_or_settings_is_refused(whole, model, tracklets):
    with pytest.raises(TrainingError, match="the tracklets were others"):
        adapt(model, tracklets[:-1], whole.folder, QUICK, name="yard", started_from="small")
    with pytest.raises(TrainingError, match=r"config\.steps was 3, now 4"):
        adapt(model, tracklets, whole.folder, replace(QUICK, steps=4), name="yard", started_from="small")


def test_fewer_than_50_tracklets_are_refused(model, tracklets, tmp_path):
    with pytest.raises(ValueError, match="at least 50 tracklets, got 49"):
        adapt(model, tracklets[:49], tmp_path / "site", QUICK)
    assert not (tmp_path / "site").exists()


def test_people_who_look_alike_keep_the_start(model, tmp_path):
    """Noise that is the same in every tracklet: one identity has them all."""
    noise = np.random.default_rng(0).integers(0, 255, (4, 64, 32, 3), dtype=np.uint8)
    uniforms = [Tracklet(str(i), noise, camera=i % 2) for i in range(50)]
    found = adapt(model, uniforms, tmp_path / "site", QUICK)
    assert found.best == 0
    assert "one identity has 50 of 50 tracklets" in found.stopped
    assert stmga.STMGA.from_pretrained(found.weights).digest() == model.digest()
    assert read_record(found.weights).name == model.record.name


def test_people_who_come_by_once_keep_the_start(model, tmp_path):
    """Fifty people, each seen once, and a threshold that no cosine reaches: everybody stays alone."""
    once = render_walkers(50, cameras=1, tracklets=1, frames=4, size=(64, 32))
    points = tuple(replace(p, similarity=1.0) for p in model.record.calibration.thresholds)
    strict = small()
    strict.record = replace(strict.record, calibration=replace(strict.record.calibration, thresholds=points))
    found = adapt(strict, once, tmp_path / "site", QUICK)
    assert (found.best, len(found.rounds)) == (0, 1)
    assert "stay alone" in found.stopped


def test_only_norms_changes_statistics_and_no_weight(model, tracklets, tmp_path):
    found = adapt(model, tracklets, tmp_path / "site", replace(QUICK, only_norms=True))
    assert len(found.rounds) == 2
    changed = stmga.STMGA.from_pretrained(found.folder / "round-1" / "last")
    before = model.state_dict()
    moved = {name for name, value in changed.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {name for name in before if "running" in name or "num_batches" in name}


def test_in_bf16_it_trains_and_embeds_in_bf16(model, tracklets, tmp_path, whole):
    settings = replace(QUICK, rounds=1, precision="bf16")
    found = adapt(model, tracklets, tmp_path / "site", settings, name="yard", started_from="small")
    run = json.loads((found.folder / "round-1" / "run.json").read_text())
    assert run["train"]["precision"] == "bf16"
    ours, exact = (stmga.Embeddings.load(one.folder / "linked-0" / "whole.safetensors") for one in (found, whole))
    assert not torch.equal(ours.vectors, exact.vectors)  # of the same weights, and rounded
    torch.testing.assert_close(ours.vectors, exact.vectors, atol=0.03, rtol=0)
    with pytest.raises(ValueError, match="precision must be one of 'fp32', 'bf16', 'fp16', got 'half'"):
        replace(QUICK, precision="half")


def test_weights_without_a_calibration_need_pairs_seen_at_the_same_time(tracklets, tmp_path, caplog):
    caplog.set_level("INFO")
    bare = small()
    bare.record = replace(bare.record, calibration=None)
    with pytest.raises(ValueError, match="have no calibration"):
        adapt(bare, tracklets, tmp_path / "none", QUICK)
    found = adapt(bare, site(persons=24, times=True), tmp_path / "times", replace(QUICK, rounds=1))
    assert all(row["margin"] is not None for row in found.rounds)
    assert found.best == 1
    assert caplog.text.count("the most similar two people") == 1  # of the kept weights, not of every round


def test_what_is_kept_is_whitened_on_the_identities_that_it_found(model, tmp_path):
    many = site(persons=60)
    settings = replace(QUICK, rounds=1, persons=16, false_match_rate=1e-4)
    found = adapt(model, many, tmp_path / "site", settings)
    assert found.best == 1
    kept = stmga.STMGA.from_pretrained(found.weights)
    assert kept.config.whitening
    assert kept.record.stages[-1]["whitening"] == "solved, shrinkage 3"
    assert kept.record.calibration.digest == kept.digest()
    labels = json.loads((found.folder / "linked-1" / "labels.json").read_text())["identity"]
    plain = adapt(model, many, tmp_path / "plain", replace(settings, whitening=0.0))
    without = stmga.STMGA.from_pretrained(plain.weights)
    assert not without.config.whitening
    seen = Site(many, frames=QUICK.frames).view_of_whole(stmga.TrackletEmbedder(without)).whole.vectors
    torch.testing.assert_close(kept.whitening.weight, whitening_of(seen, labels), atol=1e-6, rtol=0)
    both = [stmga.TrackletEmbedder(one)(many).vectors for one in (without, kept)]
    torch.testing.assert_close(F.normalize(both[0] @ kept.whitening.weight.T, dim=1), both[1], atol=1e-5, rtol=0)


def test_too_few_identities_are_not_whitened_and_it_says_so(model, tracklets, tmp_path, caplog):
    found = adapt(model, tracklets, tmp_path / "site", QUICK)
    assert found.best > 0
    assert not stmga.STMGA.from_pretrained(found.weights).config.whitening
    assert "no whitening" in caplog.text
    assert "30 are needed" in caplog.text
