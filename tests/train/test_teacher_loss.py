"""The loss of distillation: by hand, up to a rotation, in half precision and over two processes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import stmga
from stmga.train import Teacher, TeacherLoss


def literal_loss(batches, directions):
    """Of the last of several batches of (student, teacher), with numpy in float64."""
    covariance, unit = 0.0, lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)
    for student, teacher in batches:
        student, teacher = unit(student.double().numpy()), unit(teacher.double().numpy() @ directions.double().numpy())
        covariance = 0.99 * covariance + 0.01 * teacher.T @ student / len(student)
    u, _, vt = np.linalg.svd(covariance, full_matrices=False)
    return float(np.mean([1 - x @ (y @ u @ vt) for x, y in zip(student, teacher, strict=True)]))


def test_the_loss_is_the_literal_one():
    torch.manual_seed(0)
    directions = torch.linalg.qr(torch.randn(9, 4)).Q
    batches = [(torch.randn(20, 5), torch.randn(20, 9)) for _ in range(3)]
    loss = TeacherLoss(directions, dim=5)
    found = [float(loss(*batch)) for batch in batches]
    expected = [literal_loss(batches[: i + 1], directions) for i in range(3)]
    assert found == pytest.approx(expected, rel=1e-5)
    assert min(expected) > 0.3
    assert float(loss.eval()(*batches[0])) == float(loss(*batches[0]))  # the rotation is not moved


def test_two_clips_by_hand():
    """The student points to 0 and 90 degrees, the teacher to 0 and 60: turned by 15 degrees, both are 15 apart."""
    angle = torch.tensor([0.0, 60.0]).deg2rad()
    taught = torch.stack([angle.cos(), angle.sin()], dim=1)
    expected = 1 - torch.tensor(15.0).deg2rad().cos()
    assert float(TeacherLoss(torch.eye(2), dim=2)(torch.eye(2), 3 * taught)) == pytest.approx(float(expected), abs=1e-6)


def test_only_the_student_learns_and_only_up_to_a_rotation():
    torch.manual_seed(0)
    student, teacher = torch.randn(12, 4, requires_grad=True), torch.randn(12, 6, requires_grad=True)
    loss = TeacherLoss(torch.eye(6)[:, :4], dim=4)
    loss(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-3
    turned = teacher.detach()[:, :4] @ torch.linalg.qr(torch.randn(4, 4)).Q * 3
    assert float(TeacherLoss(torch.eye(6)[:, :4], dim=4)(turned, teacher)) == pytest.approx(0, abs=1e-5)


def test_a_wider_student_keeps_every_similarity_of_a_narrower_teacher():
    torch.manual_seed(0)
    teacher = torch.randn(12, 3)
    wide = F.pad(teacher, (0, 2)) @ torch.linalg.qr(torch.randn(5, 5)).Q
    assert float(TeacherLoss(torch.eye(3), dim=5)(wide, teacher)) == pytest.approx(0, abs=1e-5)


def test_the_loss_is_of_float32_in_half_precision():
    torch.manual_seed(0)
    student, teacher = torch.randn(6, 5).bfloat16(), torch.randn(6, 5)
    found = TeacherLoss(torch.eye(5), dim=5)(student, teacher)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(literal_loss([(student, teacher)], torch.eye(5)), rel=1e-4)


def test_the_main_directions_are_those_of_the_vectors(benchmark, file, caplog):
    teacher = Teacher(file, benchmark.train)
    frames = [(i, [j]) for i in range(len(benchmark.train)) for j in range(3)]
    vectors = teacher(frames, [False] * len(frames))
    with caplog.at_level("INFO", logger="stmga"):
        found = teacher.directions(4)
    torch.testing.assert_close(found.T @ found, torch.eye(4), atol=1e-5, rtol=0)
    squares = np.linalg.svd(vectors.double().numpy(), compute_uv=False) ** 2
    kept = squares[:4].sum() / squares.sum()
    assert float((vectors @ found).square().sum() / len(vectors)) == pytest.approx(kept, rel=1e-4)
    assert f"4 of the teacher's 512 dimensions hold {100 * kept:.1f} % of its vectors" in caplog.text
    caplog.clear()
    assert teacher.directions(600).shape == (512, 512)
    assert not caplog.text


HALVES = """
import torch
from stmga.utils.distributed import all_gather_grad, process_group
from stmga.train import TeacherLoss
with process_group("cpu") as world:
    torch.manual_seed(0)
    student, teacher = torch.randn(12, 5), torch.randn(12, 5)
    half = student.chunk(2)[world.rank].clone().requires_grad_()
    TeacherLoss(torch.eye(5), 5)(all_gather_grad(half), all_gather_grad(teacher.chunk(2)[world.rank])).backward()
    student.requires_grad_()
    TeacherLoss(torch.eye(5), 5)(student, teacher).backward()
    torch.testing.assert_close(half.grad / 2, student.grad.chunk(2)[world.rank])  # of which DDP takes the mean
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here")
def test_two_processes_learn_from_the_whole_batch(tmp_path):
    (tmp_path / "halves.py").write_text(HALVES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    path = os.pathsep.join([str(Path(stmga.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(tmp_path / "halves.py")], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("shapes", [((3, 4), (2, 6)), ((3, 5), (3, 6)), ((3, 4), (3, 5)), ((3,), (3, 6))])
def test_other_shapes_are_refused(shapes):
    with pytest.raises(ValueError, match=r"features \(b, 4\) and taught \(b, 6\)"):
        TeacherLoss(torch.eye(6)[:, :4], dim=4)(*(torch.zeros(shape) for shape in shapes))
    with pytest.raises(ValueError, match="k at most 3"):
        TeacherLoss(torch.eye(6)[:, :4], dim=3)
