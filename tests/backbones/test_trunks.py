"""Networks of other libraries and of users as trunks: built, trained, saved, loaded, exported, by torch.hub."""

import json
from dataclasses import replace

import pytest
import timm
import torch
from torch import nn

import stmga
from stmga import STMGA
from stmga.config import CUSTOM
from stmga.hub.records import WeightsError
from stmga.train import TrainConfig, train
from tests.support.paths import ROOT
from tests.support.train import little_benchmark
from tests.support.trunks import PLAIN, SMALL, plain, shaken, vit_map

STEP = TrainConfig(persons=4, clips=2, stride=1, epochs=1, steps=1, lr=1e-3)
TRUNKS = {  # a name or a module, and the stage
    "ResNet": ("resnet18", "c4"),
    "IBN": ("resnet18_ibn", "c5"),
    "ConvNeXt": ("timm:convnext_atto", "c4"),
    "MobileNet": ("timm:mobilenetv3_small_100", "c4"),
    "vision transformer": ("timm:vit_tiny_patch16_224", "c5"),
    "DINOv3": ("timm:vit_small_patch16_dinov3", "c5"),
    "user's module": (plain, "c5"),
    "user's transformer": (vit_map, "c5"),
}


def built(trunk, stage, config=SMALL) -> STMGA:
    torch.manual_seed(0)
    config = replace(config, stage=stage)
    return STMGA(replace(config, backbone=trunk)) if isinstance(trunk, str) else STMGA(config, backbone=trunk())


@pytest.mark.parametrize("name", TRUNKS)
def test_a_trunk_trains_saves_and_loads(name, tmp_path):
    trunk, stage = TRUNKS[name]
    model = built(trunk, stage)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    train(model, little_benchmark(), STEP, tmp_path / "run", progress=False)
    changed = [key for key, p in model.backbone.named_parameters() if not torch.equal(p, before[f"backbone.{key}"])]
    assert len(changed) == len(list(model.backbone.parameters())), "the step left a parameter of the trunk as it was"
    module = {} if isinstance(trunk, str) else {"backbone": trunk()}
    again = STMGA.from_pretrained(tmp_path / "run/last", **module)
    clips = torch.randn(2, 2, 3, 64, 32)
    with torch.inference_mode():  # training stores convolutions channels last, which rounds differently
        torch.testing.assert_close(again(clips), model.eval()(clips), atol=1e-5, rtol=0)
    assert again.digest() == model.digest()
    assert again.config.backbone == (trunk if isinstance(trunk, str) else CUSTOM)
    timms = isinstance(trunk, str) and trunk.startswith("timm:")
    assert again.record.trunk_library == (f"timm {timm.__version__}" if timms else "")
    again.save_pretrained(tmp_path / "again")
    files = [(tmp_path / folder / "model.safetensors").read_bytes() for folder in ("run/last", "again")]
    assert files[0] == files[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUNKS)
def test_a_trunk_in_an_onnx_file(name, tmp_path):
    model = shaken(built(*TRUNKS[name], config=PLAIN)).eval()
    differences = stmga.export(model, tmp_path / "model.onnx").differences
    assert differences["onnxruntime"] < 1e-4
    clips = torch.randn(1, 2, 3, 64, 32)
    with torch.inference_mode():  # export compares with the folded network; here with the network itself
        exported = stmga.deploy.ExportedModel(tmp_path / "model.onnx", runtime="onnxruntime")
        torch.testing.assert_close(exported(clips), model(clips), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", TRUNKS)
def test_a_trunk_by_torch_hub(name):
    trunk, _ = TRUNKS[name]
    if trunk is vit_map:
        pytest.skip("its positions are for frames of 64 x 32, and the architectures take 256 x 128")
    backbone = trunk if isinstance(trunk, str) else trunk()
    arch = "stmga_resnet18_c4_baseline"
    model = torch.hub.load(str(ROOT), arch, source="local", backbone=backbone).eval()
    frames = torch.randint(256, (2, 3, 64, 32), dtype=torch.uint8)
    assert model(model.transform(frames)[None]).shape == (1, model.dim)
    assert model.config.backbone == (trunk if isinstance(trunk, str) else CUSTOM)


@pytest.mark.parametrize("name", TRUNKS)
def test_the_same_vectors_with_norms_folded(name):
    model = shaken(built(*TRUNKS[name], config=PLAIN)).eval()
    clips = torch.randn(2, 2, 3, 64, 32)
    with torch.inference_mode():
        folded = model.fuse()
        torch.testing.assert_close(folded(clips), model(clips), atol=1e-5, rtol=0)
    assert folded.digest() == model.digest()
    left = sum(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert left == (6 if name == "IBN" else 0)  # the batch norms inside of IBN-a share their convolution
    with pytest.raises(WeightsError, match=r"changed after it was built"):
        folded.save_pretrained("no")


def test_a_users_module_is_asked_for_when_it_is_loaded(tmp_path):
    model = built(plain, "c5", PLAIN).eval()
    model.save_pretrained(tmp_path / "mine")
    assert json.loads((tmp_path / "mine/config.json").read_text())["config"]["backbone"] == "custom"
    assert "backbone=trunk" in (tmp_path / "mine/README.md").read_text()
    with pytest.raises(WeightsError, match=r"from_pretrained\(folder, backbone=module\)"):
        STMGA.from_pretrained(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"STMGA\(config, backbone=module\)"):
        STMGA(model.config)
    with pytest.raises(WeightsError, match=r"parameters 6 of another shape|of another shape"):
        STMGA.from_pretrained(tmp_path / "mine", backbone=plain(channels=40))
    loaded = stmga.create_model("stmga_resnet18_c4_baseline", backbone=plain())
    assert loaded.config.backbone == "custom"
    built("resnet18", "c4", PLAIN).save_pretrained(tmp_path / "resnet")
    with pytest.raises(WeightsError, match=r"its own trunk, resnet18: leave out backbone"):
        STMGA.from_pretrained(tmp_path / "resnet", backbone=plain())


def test_a_program_with_a_users_module_runs_only_if_it_is_trusted(tmp_path):
    model = shaken(built(plain, "c5", PLAIN)).eval()
    stmga.export(model, path := tmp_path / "model.pt2")
    with pytest.raises(ValueError, match=r"trust=True; or export to \.onnx"):
        stmga.deploy.ExportedModel(path)
    clips = torch.randn(1, 2, 3, 64, 32)
    with torch.inference_mode():
        found = stmga.deploy.ExportedModel(path, trust=True)(clips)
        torch.testing.assert_close(found, model(clips), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_a_program_whose_trunk_computes_tensors_when_it_is_built(tmp_path):
    """Rotary position embeddings are constants in the file. They are not read: the network is built again."""
    model = built("timm:vit_small_patch16_dinov3", "c5", PLAIN).eval()
    assert stmga.export(model, tmp_path / "model.pt2").differences["torch"] < 1e-5


def test_a_users_module_can_have_any_names_and_is_not_changed_by_saving(tmp_path):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = plain()  # DistributedDataParallel's name, which is stripped elsewhere

        def forward(self, x):
            return self.module(x)

    model = STMGA(PLAIN, backbone=Wrapped()).eval()
    held = list(model.parameters())
    model.save_pretrained(tmp_path)
    assert all(a is b for a, b in zip(held, model.parameters(), strict=True))
    again = STMGA.from_pretrained(tmp_path, backbone=Wrapped())
    assert torch.equal(again.backbone.net.module[0].weight, model.backbone.net.module[0].weight)

    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = plain()
            self.register_buffer("mask", torch.ones(3, dtype=torch.bool))

        def forward(self, x):
            return self.net(x)

    with pytest.raises(WeightsError, match=r"backbone\.net\.mask torch\.bool.*persistent=False"):
        STMGA(PLAIN, backbone=Odd()).save_pretrained(tmp_path / "odd")


def test_another_size_resizes_position_embeddings_or_says_why_not():
    from stmga.train import with_input

    model = built("timm:vit_tiny_patch16_224", "c5", PLAIN).eval()
    larger = with_input(model, size=(96, 48))
    assert larger.backbone.net.pos_embed.shape[1] == 6 * 3 + 1 and model.backbone.net.pos_embed.shape[1] == 4 * 2 + 1
    assert larger(torch.randn(1, 2, 3, 96, 48)).shape == model(torch.randn(1, 2, 3, 64, 32)).shape
    assert with_input(model, clip_length=4).backbone is model.backbone
    users = built(plain, "c5", PLAIN)
    assert with_input(users, size=(96, 48)).backbone.net is users.backbone.net
    with pytest.raises(ValueError, match=r"fails on frames of 96 x 48: .*build it for this one"):
        with_input(built(vit_map, "c5", PLAIN), size=(96, 48))
