"""A student's run: which frames it learns from, and that it resumes and refuses as other runs do."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

import stmga
from stmga import Tracklet
from stmga.data import ClipAugment, TrainingSet
from stmga.train import (
    StoppedError,
    Teacher,
    TrainConfig,
    Trainer,
    TrainingError,
    teacher_vectors,
    train,
)
from stmga.train.losses import pairwise_distance
from stmga.train.objective import build_objective
from stmga.utils.distributed import World
from tests.support.train import BASELINE, QUICK, TEACHER, TINY, assert_same, stop_at, tiny


def test_a_clip_gets_the_mean_of_its_frames(benchmark, file):
    taught, tensors = Teacher(file, benchmark.train), load_file(file)
    found = taught([(0, [0, 2]), (5, [1, 1]), (23, [2])], [False, True, False])
    starts = [5 * 3, 23 * 3]  # all have three frames
    expected = torch.stack([
        tensors["plain"][[0, 2]].float().mean(0), tensors["mirrored"][starts[0] + 1].float(),
        tensors["plain"][starts[1] + 2].float(),
    ])  # fmt: skip
    torch.testing.assert_close(found, F.normalize(expected, dim=1))


def test_a_batch_learns_from_exactly_the_frames_it_shows(benchmark, teacher, tmp_path):
    """Of crops whose every frame has a colour of its own, found again by looking at the pixels of the batch."""
    rng = np.random.default_rng(0)
    walks = [
        Tracklet(f"t{i}", rng.integers(0, 256, (n, 64, 32, 3), dtype=np.uint8), person=i // 2)
        for i, n in enumerate([3, 9, 5, 12, 4, 7])
    ]
    file = tmp_path / "teacher.safetensors"
    teacher_vectors(teacher, walks, file)
    config = TrainConfig(persons=3, clips=4, stride=2, erase=0.0, dense_step=4, steps=2)
    run = Trainer(tiny(0, BASELINE), replace(benchmark, train=walks), config, tmp_path / "run", World(), teacher=file)
    frames = torch.cat([torch.stack(walk.load()) for walk in walks])
    sides = torch.stack([frames, frames.flip(-1)])  # (2 n 3 h w)
    tensors = load_file(file)
    vectors = torch.stack([tensors["plain"], tensors["mirrored"]]).float()
    seen = set()
    for batch in run._batches(0):
        shown = run.inputs.augment(batch["clip"], batch["draw"])
        pixels = (
            shown * torch.tensor(run.inputs.augment.std).view(3, 1, 1)
            + torch.tensor(run.inputs.augment.mean).view(3, 1, 1)
        ) * 255
        expected = []
        for clip in pixels:
            distances = (sides[:, :, None].float() - clip).abs().amax((-3, -2, -1))  # (2 n t)
            found = (distances < 0.5).nonzero()
            assert len(found) == len(clip)  # every frame of the clip is one of them
            seen |= set(found[:, 0].tolist())
            expected.append(vectors[found[:, 0], found[:, 1]].mean(0))
        torch.testing.assert_close(run.inputs.teacher_vectors(batch), F.normalize(torch.stack(expected), dim=1))
    assert seen == {0, 1}


def test_mirrored_and_chosen_are_what_happens(benchmark):
    data = TrainingSet(benchmark.train, length=2, stride=1, size=(64, 32))
    owner, frames = data.chosen(4, 17)
    clip = torch.stack(benchmark.train[owner].load(frames))
    assert torch.equal(data[4, 17]["clip"], clip)
    draws, augment = list(range(50)), ClipAugment(erase=0.0, flip=0.3)
    plain = ClipAugment(erase=0.0, flip=0.0)(clip.repeat(50, 1, 1, 1, 1), draws)
    flipped = (augment(clip.repeat(50, 1, 1, 1, 1), draws) != plain).flatten(1).any(1)
    assert flipped.tolist() == augment.mirrored(draws).tolist()
    assert 5 < int(flipped.sum()) < 30


@pytest.fixture(scope="module", name="whole")
def whole_fixture(benchmark, file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(tiny(0, BASELINE), benchmark, QUICK, folder, teacher=file), folder


def test_the_loss_joins_the_others(whole, benchmark, file, tmp_path):
    result, folder = whole
    first = result.log[0]["loss"]
    assert first["teacher"] > 0.1
    assert first["total"] == pytest.approx(first["ce/z_f"] + first["triplet/z_f"] + 10 * first["teacher"], rel=1e-5)
    asked = json.loads((folder / "run.json").read_text())["teacher"]
    assert asked == Teacher(file, benchmark.train).about()
    assert (asked["weights"], asked["size"]) == ("larger", [80, 40])
    record = stmga.STMGA.from_pretrained(folder / "last").record
    assert record.stages[-1]["teacher"] == "larger"
    assert record.terms == "research only"
    short = replace(QUICK, epochs=1, steps=1, eval_every=0)
    alone = train(tiny(0, BASELINE), benchmark, replace(short, weight_teacher=0.0), tmp_path / "alone", teacher=file)
    assert "teacher" not in alone.log[0]["loss"]
    assert "teacher" not in train(tiny(0, BASELINE), benchmark, short, tmp_path / "none").log[0]["loss"]


@pytest.mark.parametrize("weight", [0.0, 100.0])
def test_the_student_comes_near_the_teachers_similarities(weight):
    """One batch of eight clips again and again; the teacher knows nothing of its persons."""
    torch.manual_seed(0)
    clips, labels, taught = torch.rand(8, 2, 3, 64, 32), torch.arange(8) // 2, torch.randn(8, 6)
    objective = build_objective(tiny(0, BASELINE), 4, TrainConfig(weight_teacher=weight), torch.eye(6)).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3)
    losses, apart = [], []
    for _ in range(30):
        feature = objective.model.neck(objective.model.encode(clips)).detach()
        apart.append(float((pairwise_distance(feature, feature) - pairwise_distance(taught, taught)).abs().mean()))
        optimizer.zero_grad()
        terms = objective(clips, labels, None, taught)
        losses.append(float(terms["teacher"].detach()) if weight else 0.0)
        terms["total"].backward()
        optimizer.step()
    if weight:
        assert losses[-1] < 0.5 * losses[0]
        assert apart[-1] < 0.4 * apart[0]
    else:  # the other losses alone do not bring it there
        assert "teacher" not in terms
        assert apart[-1] > 0.5 * apart[0]


@pytest.mark.parametrize("after", [2, 3])
def test_a_taught_run_that_was_stopped_ends_as_if_it_had_not_been(whole, benchmark, file, tmp_path, monkeypatch, after):
    stop_at(monkeypatch, after)
    with pytest.raises(StoppedError):
        train(tiny(0, BASELINE), benchmark, QUICK, tmp_path / "run", teacher=file)
    train(tiny(99, BASELINE), benchmark, QUICK, tmp_path / "run", teacher=file)
    assert_same(tmp_path / "run", whole[1])


def test_a_run_does_not_resume_with_another_teacher(whole, benchmark, teacher, tmp_path):
    def refused(model):
        other = tmp_path / "other.safetensors"
        if model is not None:
            teacher_vectors(model, benchmark.train, other, weights="other")
        with pytest.raises(TrainingError, match="is the run of another configuration") as caught:
            train(tiny(0, BASELINE), benchmark, QUICK, whole[1], teacher=other if model is not None else None)
        return str(caught.value)

    message = refused(tiny(seed=8, config=TEACHER))  # other weights
    assert "teacher.weights was 'larger', now 'other'" in message
    assert f"teacher.digest was '{teacher.digest()[:12]}...'" in message
    assert "teacher.size" not in message
    smaller = tiny(config=TINY)  # another size
    assert "teacher.size was [80, 40], now [64, 32]" in refused(smaller)
    assert "now None" in refused(None)


@pytest.mark.parametrize("weight", [-1.0, "much"])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match="weight_teacher"):
        TrainConfig(weight_teacher=weight)
