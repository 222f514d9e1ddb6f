"""The loss of distillation, by hand, in half precision and over two processes."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import stmga
from stmga.train import (
    relation_loss,
)


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
