"""Distillation: the loss by hand, the teacher's file, which frames a student learns from, and every bad input."""

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from train_fixtures import QUICK, TINY, assert_same, little_benchmark, stop_at, tiny

import stmga
from stmga import Tracklet, TrackletEmbedder
from stmga.data import ClipAugment, TrainingSet
from stmga.embedding.resumable import PiecesError
from stmga.hub.records import WeightRecord
from stmga.train import (
    StoppedError,
    Teacher,
    TeacherError,
    TrainConfig,
    Trainer,
    TrainingError,
    relation_loss,
    teacher_vectors,
    train,
)
from stmga.train.losses import pairwise_distance
from stmga.train.objective import build_objective
from stmga.utils.distributed import World

BASELINE = replace(TINY, parts="none", part_scales=(1,), t_mga=False, temporal_scales=(), s_mga=False)  # the quickest
TEACHER = replace(BASELINE, stage="c5", size=(80, 40))  # 512 numbers, where the student has 256; another size


def student(seed=0):
    return tiny(seed, BASELINE)


@pytest.fixture(scope="module", name="benchmark")
def benchmark_fixture():
    return little_benchmark()


@pytest.fixture(scope="module", name="teacher")
def teacher_fixture():
    model = tiny(seed=7, config=TEACHER).eval()
    model.record = WeightRecord(name="", config=TEACHER, sha256="0" * 64, terms="research only")
    return model


@pytest.fixture(scope="module", name="file")
def file_fixture(benchmark, teacher, tmp_path_factory):
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    teacher_vectors(teacher, benchmark.train, file, weights="larger")
    return file


# ---- the loss


def literal_loss(student, teacher, temperature):
    """Every clip against every other, one by one."""
    total = 0.0
    for i in range(len(student)):
        others = [j for j in range(len(student)) if j != i]
        p, q = (
            [math.exp(float(F.cosine_similarity(x[i], x[j], dim=0)) / temperature) for j in others]
            for x in (teacher.double(), student.double())
        )
        p, q = ([value / sum(values) for value in values] for values in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    return total / len(student)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_the_loss_is_the_literal_one(temperature):
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 5), torch.randn(6, 9)
    expected = literal_loss(student, teacher, temperature)
    assert expected > 0.01
    assert float(relation_loss(student, teacher, temperature=temperature)) == pytest.approx(expected, rel=1e-4)


def test_the_loss_of_three_clips_by_hand():
    """Cosines of the teacher: (1, 2) 0, (1, 3) 1, (2, 3) 0; all of the student's are 0, so that q is a half."""
    teacher = torch.tensor([[1.0, 0], [0, 1], [2, 0]])
    p = math.e / (math.e + 1)
    row = p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))  # of clips 1 and 3; clip 2 has equal shares already
    assert float(relation_loss(torch.eye(3), teacher, temperature=1.0)) == pytest.approx(2 * row / 3, rel=1e-6)


def test_only_the_student_learns_and_only_the_relations_count():
    torch.manual_seed(0)
    student, teacher = torch.randn(5, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    relation_loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-3
    turned = teacher.detach() @ torch.linalg.qr(torch.randn(4, 4)).Q * 3
    assert float(relation_loss(turned, teacher.detach())) == pytest.approx(0, abs=1e-5)


def test_the_loss_is_of_float32_in_half_precision():
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 5).bfloat16(), torch.randn(6, 9)
    found = relation_loss(student, teacher)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(literal_loss(student, teacher, 0.1), rel=1e-4)


HALVES = """
import torch
from stmga.utils.distributed import all_gather_grad, process_group
from stmga.train import relation_loss
with process_group("cpu") as world:
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 5), torch.randn(6, 9)
    half = student.chunk(2)[world.rank].clone().requires_grad_()
    relation_loss(all_gather_grad(half), all_gather_grad(teacher.chunk(2)[world.rank])).backward()
    student.requires_grad_()
    relation_loss(student, teacher).backward()
    torch.testing.assert_close(half.grad / 2, student.grad.chunk(2)[world.rank])  # of which DDP takes the mean
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here")
def test_two_processes_learn_from_the_similarities_of_the_whole_batch(tmp_path):
    (tmp_path / "halves.py").write_text(HALVES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(Path(stmga.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(tmp_path / "halves.py")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shapes", [((1, 4), (1, 4)), ((3, 4), (2, 4)), ((3, 4), (3,))])
def test_a_loss_of_other_shapes_is_refused(shapes):
    with pytest.raises(ValueError, match="b at least 2"):
        relation_loss(*(torch.zeros(shape) for shape in shapes))


# ---- the file


def single(teacher, frames):
    """What the embedder makes of frames, each alone: clips of one frame."""
    model = tiny(config=replace(TEACHER, clip_length=1))
    model.load_state_dict(teacher.state_dict())
    named = [Tracklet(str(i), frame[None]) for i, frame in enumerate(frames)]
    return TrackletEmbedder(model).embed(named).vectors


def test_the_vectors_are_the_embedders_of_single_frames_plain_and_mirrored(benchmark, teacher, file):
    tensors = load_file(file)
    frames = [frame for tracklet in benchmark.train for frame in tracklet.load()]
    assert {name: (t.dtype, tuple(t.shape)) for name, t in tensors.items()} == dict.fromkeys(
        ("plain", "mirrored"), (torch.float16, (len(frames), 512))
    )
    plain = single(teacher, frames)
    mirrored = single(teacher, [frame.flip(-1) for frame in frames])
    torch.testing.assert_close(tensors["plain"].float(), plain, rtol=0, atol=5e-4)
    torch.testing.assert_close(tensors["mirrored"].float(), mirrored, rtol=0, atol=5e-4)
    assert (plain - mirrored).abs().max() > 0.01  # or the two would not differ
    torch.testing.assert_close(tensors["plain"].float().norm(dim=1), torch.ones(len(frames)), rtol=0, atol=1e-3)


def test_the_teacher_stays_as_it_was(benchmark, teacher, file):
    assert teacher.config == TEACHER
    assert Teacher(file, benchmark.train).about()["digest"] == teacher.digest()
    trained = tiny(config=TEACHER).train()
    teacher_vectors(trained, benchmark.train[:1], file.with_name("other.safetensors"))
    assert all(module.training for module in trained.modules())
    assert all(p.requires_grad for p in trained.parameters())


def test_a_killed_teacher_resumes(benchmark, teacher, file, tmp_path, monkeypatch):
    monkeypatch.setattr("stmga.embedding.resumable.PIECE", 40)
    real, seen = TrackletEmbedder.embed, []

    def dies(self, some):
        seen.append(len(some))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return real(self, some)

    monkeypatch.setattr(TrackletEmbedder, "embed", dies)
    out = tmp_path / "teacher.safetensors"
    with pytest.raises(KeyboardInterrupt):
        teacher_vectors(teacher, benchmark.train, out)
    assert not out.exists()
    with pytest.raises(PiecesError, match="pieces of another run: weights was"):
        teacher_vectors(tiny(seed=8, config=TEACHER), benchmark.train, out)
    teacher_vectors(teacher, benchmark.train, out)
    assert seen == [40, 40, 40, 40, 24]  # 144 frames in all: two pieces were there, the third comes again
    assert [p.name for p in tmp_path.iterdir()] == ["teacher.safetensors"]
    ours, theirs = load_file(out), load_file(file)
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-3)


def test_a_full_disk_leaves_the_file_before(benchmark, teacher, file, monkeypatch):
    before = file.read_bytes()

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("stmga.train.distillation.save_file", full)
    with pytest.raises(OSError, match="No space left on device; the file was not written"):
        teacher_vectors(teacher, benchmark.train, file)
    assert file.read_bytes() == before
    monkeypatch.undo()
    teacher_vectors(teacher, benchmark.train, file, weights="larger")  # of the pieces that are there
    assert sorted(p.name for p in file.parent.glob("teacher*")) == ["teacher.safetensors"]


def test_a_clip_gets_the_mean_of_its_frames(benchmark, file):
    taught, tensors = Teacher(file, benchmark.train), load_file(file)
    found = taught([(0, [0, 2]), (5, [1, 1]), (23, [2])], [False, True, False])
    starts = [5 * 3, 23 * 3]  # all have three frames
    expected = torch.stack([
        tensors["plain"][[0, 2]].float().mean(0), tensors["mirrored"][starts[0] + 1].float(),
        tensors["plain"][starts[1] + 2].float(),
    ])  # fmt: skip
    torch.testing.assert_close(found, F.normalize(expected, dim=1))


# ---- the student's batch


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
    run = Trainer(student(), replace(benchmark, train=walks), config, tmp_path / "run", World(), teacher=file)
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


# ---- a run


@pytest.fixture(scope="module", name="whole")
def whole_fixture(benchmark, file, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    return train(student(), benchmark, QUICK, folder, teacher=file), folder


def test_the_loss_joins_the_others(whole, benchmark, file, tmp_path):
    result, folder = whole
    first = result.log[0]["loss"]
    assert first["teacher"] > 0.1
    assert first["total"] == pytest.approx(first["ce/z_f"] + first["triplet/z_f"] + first["teacher"], rel=1e-5)
    asked = json.loads((folder / "run.json").read_text())["teacher"]
    assert asked == Teacher(file, benchmark.train).about()
    assert (asked["weights"], asked["size"]) == ("larger", [80, 40])
    record = stmga.STMGA.from_pretrained(folder / "last").record
    assert record.stages[-1]["teacher"] == "larger"
    assert record.terms == "research only"
    short = replace(QUICK, epochs=1, steps=1, eval_every=0)
    alone = train(student(), benchmark, replace(short, weight_teacher=0.0), tmp_path / "alone", teacher=file)
    assert "teacher" not in alone.log[0]["loss"]
    assert "teacher" not in train(student(), benchmark, short, tmp_path / "none").log[0]["loss"]


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_the_student_comes_near_the_teachers_similarities(weight):
    """One batch of eight clips again and again; the teacher knows nothing of its persons."""
    torch.manual_seed(0)
    clips, labels, taught = torch.rand(8, 2, 3, 64, 32), torch.arange(8) // 2, torch.randn(8, 6)
    objective = build_objective(student(), 4, TrainConfig(weight_teacher=weight)).train()
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3)
    losses, apart = [], []
    for _ in range(30):
        feature = objective.model.neck(objective.model.encode(clips)).detach()
        apart.append(float((pairwise_distance(feature, feature) - pairwise_distance(taught, taught)).abs().mean()))
        losses.append(float(relation_loss(feature, taught)))
        optimizer.zero_grad()
        objective(clips, labels, None, taught)["total"].backward()
        optimizer.step()
    if weight:
        assert losses[-1] < 0.1 * losses[0]
        assert apart[-1] < 0.5 * apart[0]
    else:  # the other losses alone do not bring it there
        assert losses[-1] > 0.5 * losses[0]
        assert apart[-1] > 0.5 * apart[0]


@pytest.mark.parametrize("after", [2, 3])
def test_a_taught_run_that_was_stopped_ends_as_if_it_had_not_been(whole, benchmark, file, tmp_path, monkeypatch, after):
    stop_at(monkeypatch, after)
    with pytest.raises(StoppedError):
        train(student(), benchmark, QUICK, tmp_path / "run", teacher=file)
    train(student(seed=99), benchmark, QUICK, tmp_path / "run", teacher=file)
    assert_same(tmp_path / "run", whole[1])


# ---- bad input


def test_a_run_does_not_resume_with_another_teacher(whole, benchmark, teacher, tmp_path):
    def refused(model):
        other = tmp_path / "other.safetensors"
        if model is not None:
            teacher_vectors(model, benchmark.train, other, weights="other")
        with pytest.raises(TrainingError, match="is the run of another configuration") as caught:
            train(student(), benchmark, QUICK, whole[1], teacher=other if model is not None else None)
        return str(caught.value)

    message = refused(tiny(seed=8, config=TEACHER))  # other weights
    assert "teacher.weights was 'larger', now 'other'" in message
    assert f"teacher.digest was '{teacher.digest()[:12]}...'" in message
    assert "teacher.size" not in message
    smaller = tiny(config=TINY)  # another size
    assert "teacher.size was [80, 40], now [64, 32]" in refused(smaller)
    assert "now None" in refused(None)


def test_a_teacher_of_other_tracklets_is_refused(benchmark, file, tmp_path):
    people = benchmark.train
    renamed = [replace(people[0], id="renamed"), *people[1:]]
    someone = [replace(people[0], person=people[-1].person), *people[1:]]
    longer = [replace(people[0], frames=[*people[0].load(), people[0].load()[0]]), *people[1:]]
    for others in (people[:-1], people[::-1], renamed, someone, longer):
        with pytest.raises(TeacherError, match="vectors of other tracklets") as caught:
            train(student(), replace(benchmark, train=others), QUICK, tmp_path / "run", teacher=file)
        assert "24 tracklets of 6 persons with 72 frames" in str(caught.value)
        assert "stmga teacher" in str(caught.value)
    assert not (tmp_path / "run").exists()


def changed(file, place, tensors=None, **about):
    """The file with other tensors, or another word about itself."""
    with safe_open(file, framework="pt") as whole:
        known = json.loads(whole.metadata()["stmga-teacher"])
    save_file(tensors or load_file(file), place, {"stmga-teacher": json.dumps(known | about)})
    return place


def test_what_is_no_teachers_file_is_named(benchmark, teacher, file, tmp_path):
    def refused(place, error=TeacherError):
        with pytest.raises(error) as caught:
            Teacher(place, benchmark.train)
        assert "stmga teacher" in str(caught.value)
        return str(caught.value)

    assert "there is no teacher's file" in refused(tmp_path / "nothing", FileNotFoundError)
    assert "is damaged or not" in refused(tmp_path)  # a folder
    bad = tmp_path / "bad.safetensors"
    for size in (0, 7, 1000, -1):
        bad.write_bytes(file.read_bytes()[:size])
        assert "is damaged or not" in refused(bad)
    data = bytearray(file.read_bytes())
    data[-99] ^= 1  # one bit of one vector
    bad.write_bytes(data)
    assert "its vectors are not those that were written" in refused(bad)
    tensors = load_file(file)
    assert "are not those that were written" in refused(
        changed(file, bad, {"plain": tensors["mirrored"], "mirrored": tensors["plain"]})
    )
    assert "is damaged or not" in refused(changed(file, bad, {"plain": tensors["plain"]}))
    message = refused(changed(file, bad, format=2, stmga="9.9"))
    assert "has format 2, written by stmga 9.9" in message
    TrackletEmbedder(teacher).embed(benchmark.train).save(bad)
    assert "is damaged or not" in refused(bad)  # embeddings of tracklets


@pytest.mark.parametrize("weight", [-1.0, "much"])
def test_a_weight_that_is_none_is_refused(weight):
    with pytest.raises(ValueError, match="weight_teacher"):
        TrainConfig(weight_teacher=weight)
