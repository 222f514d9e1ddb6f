"""The teacher's file: its vectors, kills and full disks, and every bad file."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from stmga import Tracklet, TrackletEmbedder
from stmga.embedding.resumable import PiecesError
from stmga.train import (
    Teacher,
    TeacherError,
    TrainingError,
    teacher_vectors,
    train,
)
from tests.support.train import BASELINE, QUICK, TEACHER, tiny


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


def test_a_teacher_of_other_tracklets_is_refused(benchmark, file, tmp_path):
    people = benchmark.train
    renamed = [replace(people[0], id="renamed"), *people[1:]]
    someone = [replace(people[0], person=people[-1].person), *people[1:]]
    longer = [replace(people[0], frames=[*people[0].load(), people[0].load()[0]]), *people[1:]]
    for others in (people[:-1], people[::-1], renamed, someone, longer):
        with pytest.raises(TeacherError, match="vectors of other tracklets") as caught:
            train(tiny(0, BASELINE), replace(benchmark, train=others), QUICK, tmp_path / "run", teacher=file)
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
    assert "has format 2, written by stmga 9.9" in refused(changed(file, bad, format=2, stmga="9.9"))
    half = {name: tensor[:-1].clone() for name, tensor in tensors.items()}
    for other in ({name: tensor.bfloat16() for name, tensor in tensors.items()}, half):
        assert "is damaged or not" in refused(changed(file, bad, other))
    TrackletEmbedder(teacher).embed(benchmark.train).save(bad)
    assert "is damaged or not" in refused(bad)  # embeddings of tracklets


@pytest.mark.parametrize(
    "text",
    [
        "[" * 10**5,
        "[]",
        "null",
        "{}",
        '{"format": 1}',
        '{"format": 1, "format": 1}',
        '{"format": "\\u001b[2J", "stmga": 1}',
    ],
)
def test_what_a_teachers_file_says_about_itself_may_be_anything(benchmark, file, tmp_path, text):
    save_file(load_file(file), tmp_path / "bad.safetensors", {"stmga-teacher": text})
    with pytest.raises(TeacherError) as caught:
        Teacher(tmp_path / "bad.safetensors", benchmark.train)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("key", ["weights", "digest", "terms", "vectors", "data", "inputs", "size"])
@pytest.mark.parametrize("value", [None, 5, [1], {"tracklets": 1}, "\x1b[2J"], ids=repr)
def test_each_word_of_a_teachers_file_has_its_type(benchmark, file, tmp_path, key, value):
    bad = changed(file, tmp_path / "bad.safetensors", **{key: value})
    if (key, value) == ("size", [1]):
        assert Teacher(bad, benchmark.train).about()["size"] == [1]
        return
    with pytest.raises(TeacherError) as caught:
        Teacher(bad, benchmark.train)
    assert str(caught.value).isprintable()


def test_vectors_and_runs_of_other_images_are_refused_by_name(benchmark, teacher, tmp_path):
    seen = tmp_path / "teacher.safetensors"
    teacher_vectors(teacher, benchmark.train, seen, weights="larger")
    first, *rest = benchmark.train
    frames = first.frames.copy()
    frames[1] = 255 - frames[1]
    changed = replace(benchmark, train=[replace(first, frames=frames), *rest])
    with pytest.raises(TeacherError, match=r"vectors of other images: .*frame 1 \(in memory\) has changed"):
        Teacher(seen, changed.train)
    train(tiny(config=BASELINE), benchmark, replace(QUICK, epochs=1, steps=1), tmp_path / "run")
    with pytest.raises(TrainingError, match=r"frame 1 \(in memory\) has changed: its pixels"):
        train(tiny(config=BASELINE), changed, replace(QUICK, epochs=1, steps=1), tmp_path / "run")
