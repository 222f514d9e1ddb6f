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
        (dict(residual="both"), "residual is 'both', expected one of 'direct', 'none'"),
        (dict(persons=1), "persons is 1, expected at least 2"),
        (dict(flip=1.5), "flip is 1.5, expected a share"),
        (dict(lr=0), "lr 0"),
        (dict(weight_pa=-1), "weight_pa is -1"),
        (dict(trunk_lr=-0.1), "trunk_lr is -0.1, expected at least 0"),
        (dict(drift=0.6), "invalid TrainConfig: drift is 0.6, expected in 0..0.5"),
        (dict(blur="much"), "blur is 'much', expected float"),
        (dict(steps=0), "steps 0"),
        (dict(compile=True, recompute=("layer1",)), "exclude each other"),
        (dict(lr="abc"), "lr is 'abc', expected float"),
        (dict(lr=float("nan")), "lr is nan, expected float"),
        (dict(epochs=2.5), "epochs is 2.5, expected int"),
        (dict(compile="no"), "compile is 'no', expected bool"),
        (dict(milestones=["a"]), "expected a list of int"),
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
