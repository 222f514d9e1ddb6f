"""Packed ResNets: the same maps as folded ones, for any number of frames, and nothing left to save or train."""

import pytest
import torch
from torch import nn

from stmga import STMGA, STMGAConfig
from stmga.backbones.packing import PackedBlock, PackedConv2d, can_pack
from stmga.fuse import fused, packed

pytestmark = pytest.mark.skipif(not can_pack(), reason="needs oneDNN on an x86 CPU")


def folded(**config: object) -> STMGA:
    """A folded network whose norms have statistics of their own."""
    torch.manual_seed(0)
    model = STMGA(STMGAConfig(**config)).eval()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return fused(model)


@pytest.mark.parametrize(("backbone", "stage"), [
    ("resnet18", "c4"), ("resnet18", "c5"), ("resnet50", "c4"), ("resnet50", "c5"), ("resnet50_ibn", "c4"),
])  # fmt: skip
def test_maps_are_those_of_the_folded_trunk(backbone, stage):
    plain = folded(backbone=backbone, stage=stage, size=(64, 32))
    done = packed(folded(backbone=backbone, stage=stage, size=(64, 32)))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in done.backbone.modules()) or "ibn" in backbone
    kinds = [type(module) for module in done.backbone.modules()]
    assert kinds.count(PackedBlock) == sum(hasattr(module, "downsample") for module in plain.backbone.modules())
    assert kinds.count(PackedConv2d) > kinds.count(PackedBlock)
    for frames in (1, 3):
        x = torch.randn(frames, 3, 64, 32)
        with torch.inference_mode():
            expected, found = plain.backbone(x), done.backbone(x)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


def test_the_network_has_the_same_vectors_and_the_given_frames_stay_as_they_are():
    plain, done = (f(backbone="resnet18", stage="c4", size=(64, 32)) for f in (folded, lambda **c: packed(folded(**c))))
    clips = torch.rand(2, 2, 3, 64, 32)
    before = clips.clone()
    with torch.inference_mode():
        torch.testing.assert_close(done(clips), plain(clips), rtol=0, atol=1e-6)
    assert torch.equal(clips, before)


def test_a_trunk_of_another_library_is_left_alone():
    trunk = nn.Sequential(nn.Conv2d(3, 8, 3, stride=16), nn.BatchNorm2d(8)).eval()
    model = fused(STMGA(STMGAConfig(size=(64, 32)), backbone=trunk).eval())
    kinds = {type(module) for module in packed(model).modules()}
    assert nn.Conv2d in kinds
    assert PackedConv2d not in kinds
