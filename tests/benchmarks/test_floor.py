"""The least times and memory that arithmetic allows."""

import argparse

import pytest
import torch

import stmga
from benchmarks.speed import floor, train_step
from benchmarks.speed.head_cost import gmac, trunk_alone


@torch.inference_mode()
def test_the_convolutions_have_all_multiply_adds_of_the_trunk():
    model = stmga.STMGA(stmga.STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32))).eval()
    clips = torch.rand(1, 2, 3, 64, 32)
    layers = floor.convolutions(model, clips)
    assert len(layers) == 15
    work = sum(gmac(convolution, x) for convolution, x in layers)
    assert work == pytest.approx(gmac(trunk_alone, model, clips))


def test_the_matrix_product_has_as_many_multiply_adds_as_the_network():
    assert gmac(floor.matrix_product(0.5)) == pytest.approx(0.5, rel=0.01)


def test_the_floor_is_the_network_at_the_best_rate():
    found = {
        floor.PRODUCT: {"work": 36.0, "rate": 100.0, "ratio": 1.2, "ratio_quartiles": [1.1, 1.3]},
        floor.CONVOLUTIONS: {"work": 30.0, "rate": 120.0, "ratio": 0.75, "ratio_quartiles": [0.7, 0.8]},
    }
    least = floor.floor(found)
    assert least["of"] == floor.CONVOLUTIONS
    assert least["ratio"] == pytest.approx(0.75 * 36 / 30)
    assert (least["lower quartile"], least["upper quartile"]) == pytest.approx((0.84, 0.96))


def test_the_least_memory_of_a_step_counts_the_further_parameters():
    args = argparse.Namespace(model="stmga_resnet18_c4", size=(64, 32))
    least = train_step.least(args, {"baseline": {"peak_gb": 2.0}})
    assert 1e6 < least["more_parameters"] < 4e6
    assert least["least_memory_ratio"] == pytest.approx(1 + 12 * least["more_parameters"] / 2e9)
