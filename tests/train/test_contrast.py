"""The contrast with a memory of persons: its loss against a literal loop, how the memory moves, and its limits."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stmga.train import TrainConfig, Trainer
from stmga.train.contrast import MOMENTUM, ContrastObjective
from stmga.train.losses import memory_loss
from stmga.utils.distributed import World
from tests.support.train import BASELINE, QUICK, little_benchmark, tiny


def test_the_loss_is_that_of_a_literal_loop():
    torch.manual_seed(0)
    x, memory, persons = torch.randn(5, 7), torch.randn(3, 7), [0, 2, 1, 1, 0]
    total = 0.0
    for row, person in zip(x, persons, strict=True):
        cosines = [float(row @ m / row.norm() / m.norm()) for m in memory]
        total -= cosines[person] / 0.2 - math.log(sum(math.exp(c / 0.2) for c in cosines))
    found = memory_loss(x, torch.tensor(persons), memory, temperature=0.2)
    assert float(found) == pytest.approx(total / 5, abs=1e-5)


def test_the_memory_moves_to_the_least_similar_clip_of_each_person_in_the_batch():
    objective = ContrastObjective(tiny(config=BASELINE), identities=3, config=TrainConfig(contrast=0.1))
    objective.memory.copy_(torch.eye(3, objective.memory.shape[1]))
    before = objective.memory.clone()
    near, far = before[1] + 0.1 * before[0], before[1] + 2 * before[2]
    objective.remember(F.normalize(torch.stack([near, far]), dim=1), torch.tensor([1, 1]))
    moved = F.normalize(MOMENTUM * before[1] + (1 - MOMENTUM) * F.normalize(far, dim=0), dim=0)
    assert torch.allclose(objective.memory[1], moved)
    assert torch.equal(objective.memory[[0, 2]], before[[0, 2]])


def test_the_memory_moves_in_training_alone():
    objective = ContrastObjective(tiny(config=BASELINE), identities=2, config=TrainConfig(contrast=0.1))
    before = objective.memory.clone()
    clips, labels = torch.rand(4, 2, 3, 64, 32), torch.tensor([0, 0, 1, 1])
    objective.eval()(clips, labels)
    assert torch.equal(objective.memory, before)
    terms = objective.train()(clips, labels)
    assert not torch.equal(objective.memory, before)
    terms["total"].backward()
    assert objective.model.neck.weight.grad.abs().sum() > 0


def test_a_run_trains_with_it(tmp_path):
    benchmark = little_benchmark()
    config = replace(QUICK, contrast=0.1, eval_every=0)
    trainer = Trainer(tiny(config=BASELINE), benchmark, config, tmp_path / "run", World(0, 1, torch.device("cpu")))
    result = trainer.run()
    assert set(result.log[-1]["loss"]) == {"contrast", "triplet", "total"}


def test_what_it_cannot_learn_from_is_refused():
    with pytest.raises(ValueError, match="contrast and weight_regions exclude each other"):
        TrainConfig(contrast=0.1, weight_regions=1.0)
    with pytest.raises(ValueError, match="contrast must be >= 0"):
        TrainConfig(contrast=-0.1)
    objective = ContrastObjective(tiny(config=BASELINE), identities=2, config=TrainConfig(contrast=0.1))
    with pytest.raises(ValueError, match="leave out the teacher"):
        objective(torch.rand(4, 2, 3, 64, 32), torch.tensor([0, 0, 1, 1]), None, torch.rand(4, 8))
