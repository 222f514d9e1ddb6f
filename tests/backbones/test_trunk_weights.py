"""Weights of IBN and timm trunks: from timm's loader, from files in timm's names, from saved networks."""

import logging
from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

import stmga
from stmga import STMGA
from stmga.backbones import load_backbone
from stmga.backbones.resnet import IBN_a
from stmga.fuse import foldable_pairs
from stmga.train import start_trunk
from tests.support.trunks import PLAIN, plain, shaken

VIT = "timm:vit_tiny_patch16_224"


def network(name: str, **changes) -> STMGA:
    return STMGA(replace(PLAIN, backbone=name, **changes))


def test_a_file_in_timms_names_with_positions_for_another_size(tmp_path):
    """The trunk is timm's own network at the new size, whatever the number of classes in the file."""
    torch.manual_seed(0)
    for classes in (1000, 7, 0):
        whole = timm.create_model("vit_tiny_patch16_224", num_classes=classes)
        save_file(whole.state_dict(), path := tmp_path / f"{classes}.safetensors")
        model = network(VIT).eval()
        start_trunk(model, path)
        assert torch.equal(model.backbone.net.blocks[3].mlp.fc1.weight, whole.blocks[3].mlp.fc1.weight)
        assert model.backbone.net.pos_embed.shape[1] == 9
        expected = whole.eval()
        expected.set_input_size(img_size=(64, 32))
        x = torch.randn(1, 3, 64, 32)
        with torch.no_grad():
            tokens = expected.forward_features(x)[:, 1:]
            torch.testing.assert_close(model.backbone(x).flatten(2).transpose(1, 2), tokens, atol=1e-4, rtol=1e-4)


def test_a_file_that_does_not_fit(tmp_path):
    state = timm.create_model("vit_tiny_patch16_224").state_dict()
    del state["blocks.5.norm1.weight"]
    save_file(state, path := tmp_path / "lacks.safetensors")
    with pytest.raises(ValueError, match=r"does not fit timm:vit_tiny_patch16_224.*blocks\.5\.norm1\.weight"):
        start_trunk(network(VIT), path)
    save_file({"module.x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match=r"does not fit timm:vit_tiny_patch16_224"):
        start_trunk(network(VIT), path)
    with pytest.raises(ValueError, match=r"backbone_missing names stages of a ResNet"):
        start_trunk(network(VIT), path, missing=["layer4"])


def test_the_trunk_of_a_saved_network(tmp_path):
    for name, build in ((VIT, lambda: network(VIT)), ("custom", lambda: STMGA(PLAIN, backbone=plain()))):
        saved, other = build(), build()
        saved.save_pretrained(tmp_path / name)
        start_trunk(other, tmp_path / name / "model.safetensors")
        pairs = zip(saved.backbone.parameters(), other.backbone.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_timms_own_weights_want_their_colours(monkeypatch, caplog, tmp_path):
    clip = "timm:vit_base_patch32_clip_224"
    mean = timm.get_pretrained_cfg(VIT.removeprefix("timm:")).mean
    assert mean == (0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match=r"want frames of mean \[0\.5, 0\.5, 0\.5\].* set mean=\[0\.5, 0\.5, 0\.5\]"):
        start_trunk(network(VIT), "timm")
    model = stmga.create_model("stmga_resnet18_c4_baseline", backbone=VIT)
    assert model.config.mean == mean and model.transform.mean == mean
    assert stmga.zoo.with_backbone(PLAIN, clip).mean == timm.get_pretrained_cfg("vit_base_patch32_clip_224").mean
    whole = timm.create_model("vit_tiny_patch16_224")
    save_file(whole.state_dict(), path := tmp_path / "a.safetensors")
    with caplog.at_level(logging.WARNING):
        start_trunk(network(VIT), path)
    assert "set mean=[0.5, 0.5, 0.5]" in caplog.text

    def downloading(*args, **options):
        return whole.state_dict()

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", downloading)
    start_trunk(model, "timm")
    assert torch.equal(model.backbone.net.cls_token, whole.cls_token)

    def offline(*args, **options):
        raise ConnectionError("no route")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", offline)
    with pytest.raises(OSError, match=r"could not be loaded \(no route\).*backbone_weights=PATH"):
        start_trunk(model, "timm")


def test_words_for_weights_that_a_trunk_does_not_have():
    for name, word, message in (
        (VIT, "imagenet", r'backbone_weights="timm"'),
        ("resnet18", "timm", r'resnet18 is not a network of timm: write backbone_weights="imagenet"'),
        ("resnet18_ibn", "imagenet", r"no ImageNet weights that fit resnet18_ibn.*IBN-Net"),
    ):
        with pytest.raises(ValueError, match=message):
            load_backbone(network(name).backbone, word, name=name)


def test_ibn_is_instance_norm_in_half_of_the_channels_of_three_stages(tmp_path):
    norm = shaken(IBN_a(8)).eval()
    x = torch.randn(2, 8, 5, 3)
    half, rest = x.split(4, dim=1)
    mean, var = half.mean((2, 3), keepdim=True), half.var((2, 3), unbiased=False, keepdim=True)
    torch.testing.assert_close(norm(x)[:, :4], (half - mean) / (var + 1e-5).sqrt())
    bn = norm.BN
    scale = (bn.weight / (bn.running_var + 1e-5).sqrt())[:, None, None]
    torch.testing.assert_close(norm(x)[:, 4:], (rest - bn.running_mean[:, None, None]) * scale + bn.bias[:, None, None])
    found = [name for name, m in network("resnet50_ibn", stage="c5").backbone.named_modules() if isinstance(m, IBN_a)]
    assert len(found) == 3 + 4 + 6 and not any("layer4" in name for name in found)
    source, other = network("resnet18_ibn", stage="c5"), network("resnet18_ibn")
    save_file(source.backbone.state_dict(), path := tmp_path / "ibn.safetensors")
    start_trunk(other, path)  # the file ends one stage later
    assert torch.equal(other.backbone.layer3[0].bn1.IN.weight, source.backbone.layer3[0].bn1.IN.weight)


class Shared(nn.Module):
    """Convolutions whose map goes elsewhere too, and one that runs twice: no norm of these can be folded."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.last, self.other = nn.Conv2d(3, 8, 16, stride=16), nn.BatchNorm2d(8)

    def forward(self, x):
        y = self.conv(x)
        if self.kind == "twice":
            y = self.conv(y)
        z = self.norm(y)
        return self.other(self.last(z + y if self.kind == "residual" else self.norm(z) if self.kind == "norm" else z))


@pytest.mark.parametrize(("kind", "pairs"), [("", 2), ("residual", 1), ("twice", 1), ("norm", 1)])
def test_a_norm_is_folded_only_where_it_alone_gets_the_map(kind, pairs):
    torch.manual_seed(0)
    model = shaken(STMGA(PLAIN, backbone=Shared(kind))).eval()
    assert len(list(foldable_pairs(model))) == pairs
    clips = torch.randn(1, 2, 3, 64, 32)
    with torch.inference_mode():
        torch.testing.assert_close(model.fuse()(clips), model(clips), atol=1e-5, rtol=0)
