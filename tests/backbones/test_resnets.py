"""Trunks: where they end, and the weights they start from."""

import os

import pytest
import torch
from safetensors.torch import save_file

from stmga.backbones import build_backbone, load_backbone


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50", "resnet101"])
def test_trunks_end_at_a_sixteenth(name):
    dim = 256 if name in ("resnet18", "resnet34") else 1024
    for stage, channels in (("c4", dim), ("c5", 2 * dim)):
        with torch.device("meta"):
            assert build_backbone(name, stage)(torch.rand(1, 3, 256, 128)).shape == (1, channels, 16, 8)


def test_the_whole_trunk_keeps_torchvisions_names_and_numbers(tmp_path):
    """A file with a classifier fills both cuts; up to the last stage the map is torchvision's own."""
    import torchvision

    torch.manual_seed(0)
    reference = torchvision.models.resnet18(weights=None).eval()
    save_file(reference.half().state_dict(), tmp_path / "whole.safetensors")
    reference.float()
    x = torch.rand(2, 3, 64, 32)
    for stage in ("c4", "c5"):
        trunk = build_backbone("resnet18", stage).eval()
        load_backbone(trunk, tmp_path / "whole.safetensors", name="resnet18")
        assert next(trunk.parameters()).dtype == torch.float32
        y = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
        y = reference.layer3(reference.layer2(reference.layer1(y)))
        torch.testing.assert_close(trunk[:7](x), y)


def test_what_a_trunk_file_lacks_must_be_declared(tmp_path):
    whole = build_backbone("resnet18", "c5").state_dict()
    to_layer3 = {k: v for k, v in whole.items() if not k.startswith("layer4") and "num_batches" not in k}
    save_file(to_layer3, path := tmp_path / "to-layer3.safetensors")
    load_backbone(build_backbone("resnet18", "c4"), path, name="resnet18")
    trunk = build_backbone("resnet18", "c5")
    with pytest.raises(ValueError, match=r"missing layer4.*backbone_missing=\['layer4'\]"):
        load_backbone(trunk, path, name="resnet18")
    load_backbone(trunk, path, name="resnet18", missing=["layer4"])
    torch.testing.assert_close(trunk.conv1.weight, whole["conv1.weight"])
    with pytest.raises(ValueError, match="lacks nothing"):
        load_backbone(build_backbone("resnet18", "c4"), path, name="resnet18", missing=["layer3"])
    with pytest.raises(ValueError, match="wrong shape layer1"):
        load_backbone(build_backbone("resnet34", "c4"), _reshaped(path, tmp_path), name="resnet18")
    with pytest.raises(FileNotFoundError, match="imagenet"):
        load_backbone(trunk, tmp_path / "absent.safetensors", name="resnet18")
    (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        load_backbone(trunk, tmp_path / "cut.safetensors", name="resnet18")


def test_the_trunk_of_a_saved_network_is_taken_alone(tmp_path):
    from stmga import STMGA, STMGAConfig

    model = STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32)))
    model.train()(torch.rand(2, 2, 3, 64, 32))  # statistics that are not zeros and ones
    model.save_pretrained(tmp_path)
    trunk = build_backbone("resnet18", "c4")
    load_backbone(trunk, tmp_path / "model.safetensors", name="resnet18")
    expected = model.backbone.state_dict()
    assert trunk.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in trunk.state_dict().items())
    whole = build_backbone("resnet18", "c5")
    with pytest.raises(ValueError, match=r"unexpected none.*backbone_missing=\['layer4'\]"):
        load_backbone(whole, tmp_path / "model.safetensors", name="resnet18")
    load_backbone(whole, tmp_path / "model.safetensors", name="resnet18", missing=["layer4"])
    with pytest.raises(ValueError, match="does not fit resnet50"):
        load_backbone(build_backbone("resnet50", "c4"), tmp_path / "model.safetensors", name="resnet50")


def test_imagenet_weights_are_torchvisions_and_a_missing_network_says_what_to_do(monkeypatch):
    """Torchvision downloads and checks the hash; here its download is replaced, so that no request is made."""
    import urllib.error

    import torchvision
    from torchvision.models import _api

    asked = []

    def download(url, **options):
        asked.append((url, options["check_hash"]))
        return torchvision.models.resnet18(weights=None).state_dict()

    monkeypatch.setattr(_api, "load_state_dict_from_url", download)
    load_backbone(build_backbone("resnet18", "c4"), "imagenet", name="resnet18")
    assert asked == [(torchvision.models.ResNet18_Weights.IMAGENET1K_V1.url, True)]

    def unreachable(url, **options):
        raise urllib.error.URLError("no route")

    monkeypatch.setattr(_api, "load_state_dict_from_url", unreachable)
    with pytest.raises(OSError, match=r"not cached.*backbone_weights=PATH"):
        load_backbone(build_backbone("resnet18", "c4"), "imagenet", name="resnet18")


def _reshaped(path, folder):
    from safetensors.torch import load_file

    state = load_file(path)
    state["layer1.0.conv1.weight"] = state["layer1.0.conv1.weight"][:, :3].contiguous()
    save_file(state, out := folder / "reshaped.safetensors")
    return out


@pytest.mark.parametrize("kind", ["pipe", "folder", "NaN", "whole numbers", "a key with an escape", "an unknown type"])
def test_a_file_that_a_trunk_cannot_start_from(tmp_path, kind):
    path, state = tmp_path / "a.safetensors", build_backbone("resnet18", "c4").state_dict()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        if kind == "NaN":
            state["bn1.weight"][0] = float("nan")
        if kind == "whole numbers":
            state["bn1.weight"] = state["bn1.weight"].to(torch.int8)
        if kind == "a key with an escape":
            state["\x1b[2J"] = torch.full((1,), float("nan"))
        save_file(state, path)
    if kind == "an unknown type":
        path.write_bytes(path.read_bytes().replace(b'"F32"', b'"F99"'))
    with pytest.raises(ValueError, match=r"a\.safetensors") as caught:
        load_backbone(build_backbone("resnet18", "c4"), path, name="resnet18")
    assert "\x1b" not in str(caught.value)
