"""Batch norms folded away: the same numbers, the same digest, and what a folded network refuses."""

import pytest
import torch
from torch import nn

from stmga import PAPER_CONFIGS, STMGA, ClipTransform, STMGAConfig, TrackletEmbedder
from stmga.fuse import conv_norm_pairs, fused
from stmga.hub.records import WeightsError


def network(**changes) -> STMGA:
    """A small network whose batch norms do something."""
    torch.manual_seed(0)
    model = STMGA(STMGAConfig(**{"backbone": "resnet18", "stage": "c4", "size": (64, 32), "clip_length": 2, **changes}))
    for norm in model.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(norm.running_mean, std=0.1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.1)
    return model.eval()


@pytest.mark.parametrize("changes", [{}, {"backbone": "resnet50"}, {"parts": "stripes"}])
def test_the_same_embeddings_without_batch_norms(changes: dict) -> None:
    model = network(**changes)
    clips = torch.randn(2, 2, 3, 64, 32)
    before = model.digest()
    folded = model.fuse()
    with torch.inference_mode():
        assert torch.allclose(folded(clips), model(clips), atol=1e-5, rtol=0)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert folded.digest() == before == model.digest()
    assert any(isinstance(m, nn.BatchNorm2d) for m in model.modules()), "the network itself was changed"


def test_every_convolution_of_every_row_of_the_paper_gives_up_its_norm() -> None:
    for config in dict.fromkeys(PAPER_CONFIGS.values()):
        with torch.device("meta"):
            model = STMGA(config)
        convs = sum(isinstance(m, nn.Conv2d) for m in model.modules())
        norms = sum(isinstance(m, nn.BatchNorm2d) for m in model.modules())
        assert len(list(conv_norm_pairs(model))) == norms == convs


def test_a_folded_network_is_not_for_training_nor_for_saving(tmp_path) -> None:
    model = network()
    with pytest.raises(ValueError, match=r"training mode.*model\.eval"):
        model.train().fuse()
    folded = model.eval().fuse()
    assert not any(p.requires_grad for p in folded.parameters())
    with pytest.raises(WeightsError, match="changed after it was built"):
        folded.save_pretrained(tmp_path / "no")
    assert torch.equal(folded.fuse()(torch.ones(1, 1, 3, 64, 32)), folded(torch.ones(1, 1, 3, 64, 32)))


@pytest.mark.parametrize("changes", [{}, {"temporal_conv": "depthwise"}, {"parts": "stripes"}])
def test_weights_in_half_precision_are_what_autocast_makes_of_them(changes: dict) -> None:
    model = network(**changes)
    clips = torch.randn(2, 2, 3, 64, 32)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = model.fuse()(clips)
        half = fused(model, half=torch.bfloat16)
        assert torch.equal(half(clips), expected)
    assert half.backbone.conv1.weight.dtype == torch.bfloat16
    assert half.digest() == model.digest()


def test_maps_lie_channels_last() -> None:
    x = network().fuse().backbone(torch.rand(2, 3, 64, 32))
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_the_embedder_folds_and_notices_new_weights() -> None:
    model = network()
    embed = TrackletEmbedder(model)
    clip = torch.randint(256, (2, 3, 64, 32), dtype=torch.uint8)
    first = embed({"a": clip})
    with torch.no_grad():
        model.backbone.conv1.weight.mul_(-1)
    second = embed({"a": clip})
    assert second.digest == model.digest() != first.digest
    with torch.inference_mode():
        wanted = model(ClipTransform.from_config(model.config)(clip)[None])
    assert torch.allclose(second.vectors, wanted, atol=1e-5, rtol=0)
    assert not torch.allclose(second.vectors, first.vectors, atol=1e-2)
