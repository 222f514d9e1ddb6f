"""Trunks that cannot be one: each error says what came and what to do."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

import stmga
from stmga import STMGA, STMGAConfig, TokenMap
from stmga.backbones import map_channels
from tests.support.trunks import PLAIN, Vit, plain


class Gives(nn.Module):
    """A module that computes something of the frames."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


MODULES = {
    "stride 32": (lambda: nn.Conv2d(3, 8, 32, stride=32), r"a map \(1, 8, 2, 1\).*stride of 16; remove the stride"),
    "stride 8": (lambda: nn.Conv2d(3, 8, 8, stride=8), r"a map \(1, 8, 8, 4\).*stride of 16; end it one stage later"),
    "tokens": (Vit, r"tokens \(1, 9, 32\) without a grid.*TokenMap\(module, grid=\(4, 2\)\)"),
    "a vector": (lambda: Gives(lambda x: x.mean((2, 3))), r"gives \(1, 3\).*before any pooling"),
    "channels last": (
        lambda: Gives(lambda x: x[:, :, ::16, ::16].permute(0, 2, 3, 1)), r"channels, which are last, to axis 1",
    ),
    "another size": (lambda: TokenMap(Vit((128, 64)), grid=(8, 4)), r"fails on frames of 64 x 32: .*another input"),
    "another grid": (lambda: TokenMap(Vit(), grid=(2, 2), in_front=1), r"9 tokens .* do not fit the grid 2 x 2"),
    "NaN": (lambda: Gives(lambda x: x[:, :, ::16, ::16] / 0 * 0), r"gives NaN or infinity"),
    "whole numbers": (lambda: Gives(lambda x: x[:, :, ::16, ::16].long()), r"map of torch\.int64"),
    "half precision": (lambda: plain().half(), r"torch\.float16.*module\.float\(\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_a_module_without_such_a_map(name):
    build, message = MODULES[name]
    with pytest.raises(ValueError, match=message):
        STMGA(PLAIN, backbone=build())


def test_what_is_no_module():
    with pytest.raises(TypeError, match=r"torch\.nn\.Module from frames to a map, got function"):
        STMGA(PLAIN, backbone=lambda x: x)
    with pytest.raises(TypeError, match=r"STMGAConfig\(backbone='resnet18'\)"):
        STMGA(PLAIN, backbone="resnet18")
    with pytest.raises(TypeError, match=r"gives dict for frames of 64 x 32"):
        STMGA(PLAIN, backbone=Gives(lambda x: {"map": x}))
    with pytest.raises(ValueError, match=r"dim is for a module"):
        STMGA(PLAIN, dim=256)
    with pytest.raises(ValueError, match=r"dim is the number of channels .* got 0"):
        STMGA(PLAIN, backbone=plain(), dim=0)
    with pytest.raises(ValueError, match=r"grid is \(rows, columns\)"):
        TokenMap(Vit(), grid=(4, 0))
    with pytest.raises(TypeError, match=r"expected tokens \(n, l, c\), got \(2, 3\)"):
        TokenMap(Gives(lambda x: x.mean((2, 3))), grid=(4, 2))(torch.rand(2, 3, 64, 32))


def test_the_run_that_finds_the_channels_changes_nothing():
    module = plain().train()
    module[1].eval()
    before = {key: tensor.clone() for key, tensor in module.state_dict().items()}
    state, modes = torch.get_rng_state(), [m.training for m in module.modules()]
    assert map_channels(module, (64, 32)) == 48
    assert torch.equal(torch.get_rng_state(), state) and [m.training for m in module.modules()] == modes
    assert all(torch.equal(tensor, before[key]) for key, tensor in module.state_dict().items())
    with torch.device("meta"):
        assert map_channels(plain(), (256, 128)) == 48
    assert STMGA(PLAIN, backbone=Gives(lambda x: 1 / 0), dim=7).dim == 7  # said, so it was not run


TIMM = {
    "no such name": ({"backbone": "timm:convnext_tinny"}, r"timm \S+ has no network 'convnext_tinny'.*'convnext_tiny'"),
    "no such tag": ({"backbone": "timm:resnet18.imagenet"}, r"no weights 'imagenet' of resnet18; it has a1_in1k"),
    "patches of 14": ({"backbone": "timm:vit_small_patch14_dinov2"}, r"no map of stride 16: its maps have strides 14$"),
    "no last stride": ({"backbone": "timm:swin_tiny_patch4_window7_224", "stage": "c5"}, r'of 16: take stage="c4"'),
    "square frames only": ({"backbone": "timm:nest_tiny"}, r"cannot be built for frames of 64 x 32.*square"),
}  # fmt: skip


@pytest.mark.parametrize("name", TIMM)
def test_a_network_of_timm_that_cannot_be_a_trunk(name):
    changes, message = TIMM[name]
    with pytest.raises(ValueError, match=message):
        STMGA(replace(PLAIN, **changes))


def test_a_network_of_timm_without_features(monkeypatch):
    import timm

    from stmga.backbones import timm_trunk

    monkeypatch.setattr(timm, "create_model", lambda *args, **options: nn.Linear(1, 1))
    timm_trunk.planned.cache_clear()
    with pytest.raises(ValueError, match=r"timm:resnet26 gives no maps: timm has no features for it"):
        STMGA(replace(PLAIN, backbone="timm:resnet26"))


def test_timm_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    for build in (
        lambda: STMGA(replace(PLAIN, backbone="timm:resnet10t")),
        lambda: stmga.create_model("stmga_resnet18_c4", backbone="timm:resnet10t"),
    ):
        with pytest.raises(ImportError, match=r"pip install 'stmga\[timm\]'"):
            build()


@pytest.mark.parametrize("name", ["timm:", "timm:a/b", "timm:hf-hub:a/b", "timm:x.y.z", "timm:\nx", "convnext_tiny"])
def test_a_name_that_no_trunk_can_have(name):
    with pytest.raises(ValueError, match=r"backbone must be one of .*'timm:NAME' or 'custom'"):
        STMGAConfig(backbone=name)


def test_what_can_be_frozen_in_a_module():
    model = STMGA(PLAIN, backbone=TokenMap(Vit(), grid=(4, 2)))
    trunk = model.backbone
    trunk.freeze(["vit.layer", "vit.positions"])
    free = [name for name, p in trunk.named_parameters() if p.requires_grad]
    assert free == ["net.vit.class_token", "net.vit.patches.weight", "net.vit.patches.bias"]
    assert trunk.train() and not trunk.net.vit.layer.training and trunk.net.vit.training
    trunk.freeze([])
    assert all(p.requires_grad for p in trunk.parameters())
    with pytest.raises(ValueError, match=r"no 'vit\.layers' to freeze .* did you mean 'vit\.layer'"):
        trunk.freeze(["vit.layers"])
    with pytest.raises(ValueError, match=r"recompute is for the stages of a ResNet"):
        trunk.set_recompute(["vit"])
