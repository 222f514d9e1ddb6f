"""Learned whitening: its mathematics, what it leaves alone, and that every path of the network has it."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stmga import STMGA, TrackletEmbedder
from stmga.data.benchmark import Benchmark
from stmga.data.walkers.render import render_walkers
from stmga.deploy import ExportedModel, export
from stmga.deploy.deployed import Deployed
from stmga.deploy.single_crop import SingleCrop
from stmga.hub.records import WeightsError
from stmga.metrics.protocol import Protocol
from stmga.train import Trainer, whiten, whitening_of, with_whitening
from stmga.train.whitening import PERSONS
from stmga.utils.distributed import World
from tests.support.adapt import small
from tests.support.train import QUICK


def within(vectors, persons):
    """The covariance around the means of persons, by a literal loop."""
    total = torch.zeros(vectors.shape[1], vectors.shape[1], dtype=torch.float64)
    for person in set(persons):
        own = vectors[[i for i, one in enumerate(persons) if one == person]].double()
        for row in own - own.mean(0):
            total += torch.outer(row, row)
    return total


def drawn(c=6, persons=PERSONS, each=5, seed=0):
    """Vectors of persons who vary much more in some directions than in others."""
    draw = torch.Generator().manual_seed(seed)
    spread = torch.linspace(0.1, 2, c) * torch.linalg.qr(torch.randn(c, c, generator=draw))[0]
    labels = [i % persons for i in range(each * persons)]
    means = torch.randn(persons, c, generator=draw)[labels]
    return means + torch.randn(len(labels), c, generator=draw) @ spread, labels


def test_almost_without_shrinkage_persons_spread_evenly():
    vectors, persons = drawn()
    layer = whitening_of(vectors, persons, shrinkage=1e-9)
    after = within(vectors @ layer.T, persons)
    assert torch.allclose(after / after.diagonal().mean(), torch.eye(6, dtype=torch.float64), atol=1e-4)
    before = within(vectors, persons)
    assert before.diagonal().max() / before.diagonal().min() > 2


def test_the_layer_is_the_formula():
    vectors, persons = drawn()
    w = within(vectors, persons)
    squared = torch.linalg.inv((w / (w.trace() / 6) + 3 * torch.eye(6)) / 4)
    layer = whitening_of(vectors, persons, shrinkage=3).double()
    assert torch.allclose(layer @ layer, squared, atol=1e-5)
    assert torch.allclose(layer, layer.T, atol=1e-6)


def test_much_shrinkage_changes_nothing():
    assert torch.allclose(whitening_of(*drawn(), shrinkage=1e7), torch.eye(6), atol=1e-5)


def test_names_and_order_of_persons_do_not_matter():
    vectors, persons = drawn()
    order = torch.randperm(len(persons), generator=torch.Generator().manual_seed(1))
    other = whitening_of(vectors[order], [f"p{persons[i]}" for i in order])
    assert torch.allclose(other, whitening_of(vectors, persons), atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda v, p: (v, [*p[:-1], None], {}), "1 of 150 tracklets have no person"),
        (lambda v, p: (v, list(range(150)), {}), "0 of 150 persons have two tracklets or more, and at least 30"),
        (lambda v, p: (v[:-1], p, {}), "a vector for each person given, got 149 for 150"),
        (lambda v, p: (v, p, {"shrinkage": 0.0}), "shrinkage must be > 0, got 0"),
        (lambda v, p: (v, p, {"shrinkage": float("nan")}), "shrinkage must be > 0, got nan"),
        (lambda v, p: (v[torch.tensor(p)], p, {}), "all vectors of a person are equal"),
        (lambda v, p: (v * float("nan"), p, {}), "not finite"),
    ],
)
def test_what_cannot_be_solved_is_refused(change, message):
    vectors, persons, settings = change(*drawn())
    with pytest.raises(ValueError, match=message):
        whitening_of(vectors, persons, **settings)


@pytest.fixture(scope="module", name="benchmark")
def benchmark_fixture():
    people = render_walkers(PERSONS, cameras=2, tracklets=1, frames=2, size=(64, 32))
    return Benchmark(name="yard", train=people, query=[], gallery=[], protocol=Protocol(), terms="for tests alone")


@pytest.fixture(scope="module", name="model")
def model_fixture():
    return small()


@pytest.fixture(scope="module", name="white")
def white_fixture(model, benchmark):
    return whiten(model, benchmark)


def test_its_vectors_are_those_of_before_through_the_layer(model, benchmark, white):
    before, after = (TrackletEmbedder(one)(benchmark.train).vectors for one in (model, white))
    assert torch.allclose(after, F.normalize(before @ white.whitening.weight.T, dim=1), atol=1e-5)
    persons = [t.person for t in benchmark.train]
    assert torch.allclose(white.whitening.weight, whitening_of(before, persons), atol=1e-6)


def test_no_other_weight_changes_and_the_digest_does(model, white):
    own = white.state_dict()
    layer = own.pop("whitening.weight")
    assert layer.shape == (model.dim, model.dim)
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in own.items())
    assert model.whitening is None
    assert replace(white.config, whitening=False) == model.config
    assert white.digest() != model.digest()


def test_the_record_says_what_was_done(model, benchmark, white):
    record, parent = white.record, model.record
    assert record.stages[:-1] == parent.stages
    assert record.stages[-1]["whitening"] == "solved, shrinkage 3"
    assert record.stages[-1]["persons"] == PERSONS
    assert record.parent == parent.name
    assert record.training_data.startswith(f"yard: {2 * PERSONS} tracklets of {PERSONS} persons; {parent.name}: ")
    assert record.terms.endswith("for tests alone")
    assert parent.terms in record.terms
    assert record.calibration is None
    assert record.metrics == ()


def test_a_layer_that_is_there_is_replaced(benchmark, white):
    assert torch.allclose(whiten(white, benchmark).whitening.weight, white.whitening.weight, atol=1e-6)


def test_a_layer_after_another_is_their_product(model):
    first, second = (whitening_of(*drawn(c=model.dim, seed=seed)) for seed in (0, 1))
    both = with_whitening(with_whitening(model, first), second)
    assert torch.allclose(both.whitening.weight, second @ first, atol=1e-6)


def test_saved_and_loaded_it_is_the_same(white, tmp_path):
    white.save_pretrained(tmp_path / "white")
    loaded = STMGA.from_pretrained(tmp_path / "white")
    assert loaded.config.whitening
    assert loaded.digest() == white.digest()
    assert "solved, shrinkage 3" in (tmp_path / "white/README.md").read_text()


def test_every_form_of_the_network_has_it(white, tmp_path):
    clips = torch.rand(2, white.clip_length, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    wanted = white(clips)
    assert torch.allclose(white.fuse()(clips), wanted, atol=1e-5)
    assert torch.allclose(Deployed(white)(clips)[0], wanted, atol=1e-5)
    crops = 255 * torch.rand(2, 3, 64, 32, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(x).view(3, 1, 1) for x in (white.config.mean, white.config.std))
    alone = ((crops / 255 - mean) / std)[:, None].expand(-1, white.clip_length, -1, -1, -1)
    assert torch.allclose(SingleCrop(white)(crops), white(alone), atol=1e-5)
    export(white, tmp_path / "white.onnx")
    exported = ExportedModel(tmp_path / "white.onnx")
    people = render_walkers(3, cameras=1, tracklets=1, frames=2, size=(64, 32))
    both = [TrackletEmbedder(one)(people).vectors for one in (white, exported)]
    assert torch.allclose(*both, atol=1e-4)


@pytest.mark.parametrize("contrast", [0.0, 0.1])
def test_training_keeps_it_and_learns_through_it(white, benchmark, contrast, tmp_path):
    config = replace(QUICK, contrast=contrast, epochs=1, steps=1, clips=2, lr=1e-3)
    losses = {}
    for name, layer in {"own": white.whitening.weight, "none": torch.eye(white.dim)}.items():
        model = with_whitening(small(), layer)
        trainer = Trainer(model, benchmark, config, tmp_path / name, World())
        losses[name] = trainer.run().log[0]["loss"]["total"]
        trained = STMGA.from_pretrained(tmp_path / name / "last")
        assert torch.equal(trained.whitening.weight, layer)
    assert losses["own"] != losses["none"]


def test_a_network_for_training_from_scratch_starts_with_a_layer_that_changes_nothing():
    config = replace(small().config, whitening=True)
    assert torch.equal(STMGA(config).whitening.weight, torch.eye(256))
    assert not STMGA(config).whitening.weight.requires_grad


def test_a_layer_of_zeros_is_not_saved(tmp_path):
    zeros = with_whitening(small(), torch.zeros(256, 256))
    with pytest.raises(WeightsError, match=r"whitening\.weight holds zeros alone"):
        zeros.save_pretrained(tmp_path / "zeros")
