"""Training as data: recipes, the learning rate, and what makes no sense."""

import json

import pytest

from stmga.data import Imitation
from stmga.train import RECIPES, TrainConfig, recipe
from stmga.train.config import INPUTS


def test_the_default_is_the_papers_recipe():
    paper = recipe("paper")
    assert paper == TrainConfig() == RECIPES["paper"]
    assert (paper.persons, paper.clips, paper.stride, paper.epochs) == (16, 4, 4, 150)  # D37
    assert (paper.lr, paper.weight_decay, paper.milestones, paper.decay) == (3.5e-4, 5e-4, (40, 80, 120), 0.1)
    assert (paper.margin, paper.distance, paper.triplet_on, paper.smoothing) == (0.3, "cosine", "post_bn", 0.0)
    assert (paper.lambda_pce, paper.weight_pa, paper.residual) == (0.1, 1.0, "direct")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_go_through_json(name):
    config = recipe(name)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_a_recipe_with_changes():
    changed = recipe("small", lr=1e-3, milestones=[5, 9], margin=None)
    assert (changed.lr, changed.milestones, changed.margin) == (1e-3, (5, 9), None)
    assert recipe("small").lr == RECIPES["small"].lr


def test_one_value_may_stand_for_a_list_of_one():
    assert recipe("paper", milestones=40, recompute="layer1").recompute == ("layer1",)


def test_steps_of_the_learning_rate():
    config = TrainConfig(lr=1.0, epochs=10, milestones=(4, 8), warmup=2)
    assert [config.lr_at(e) for e in (1, 2, 3.9, 4, 8, 9.5)] == pytest.approx([0.5, 1, 1, 0.1, 0.01, 0.01])
    assert 0 < config.lr_at(0) < 0.01


def test_cosine_falls_from_lr_to_nothing():
    config = TrainConfig(lr=1.0, epochs=11, schedule="cosine", warmup=1)
    values = [config.lr_at(1 + e / 2) for e in range(21)]
    assert values == sorted(values, reverse=True)
    assert (values[0], values[10], values[20]) == pytest.approx((1, 0.5, 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(residual="both"), "residual must be one of 'direct', 'none'"),
        (dict(persons=1), "invalid TrainConfig: persons must be >= 2, got 1"),
        (dict(flip=1.5), "flip must be in 0..1, got 1.5"),
        (dict(lr=0), "invalid TrainConfig: lr must be > 0, got 0$"),
        (dict(weight_pa=-1), "weight_pa must be >= 0, got -1"),
        (dict(trunk_lr=-0.1), "trunk_lr must be >= 0, got -0.1"),
        (dict(drift=0.6), "invalid TrainConfig: drift must be in 0..0.5, got 0.6"),
        (dict(blur="much"), "invalid TrainConfig: blur must be a finite number, got 'much'$"),
        (dict(steps=0), "steps must be >= 1, got 0"),
        (dict(compile=True, recompute=("layer1",)), "exclude each other"),
        (dict(lr="abc"), "lr must be a finite number, got 'abc'$"),
        (dict(lr=float("nan")), "lr must be a finite number, got nan"),
        (dict(epochs=2.5), "epochs must be an integer, got 2.5"),
        (dict(compile="no"), "compile must be true or false, got 'no'"),
        (dict(milestones=["a"]), r"milestones must be a list of integers, got \['a'\]"),
        (dict(steps=1.5), "steps must be an integer or None, got 1.5"),
        (dict(lr=0, epochs=0), "invalid TrainConfig: epochs must be >= 1, got 0; lr must be > 0, got 0$"),
        (dict(lr="a", flip=2), "lr must be a finite number, got 'a'; flip must be in 0..1, got 2$"),
        (dict(learning_rate=1), "no setting 'learning_rate'"),
        (dict(epoch=3), "did you mean 'epochs'"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        recipe("paper", **change)


def test_what_imitates_video_comes_from_the_recipe():
    assert not recipe("paper").imitation
    assert recipe("clips", light=0).imitation == Imitation(drift=0.08, passing=0.3, blur=1.0)
    assert INPUTS.keys() <= RECIPES.keys()


def test_an_unknown_recipe_is_named():
    with pytest.raises(ValueError, match=r"no recipe 'papre'; did you mean 'paper'\?"):
        recipe("papre")
