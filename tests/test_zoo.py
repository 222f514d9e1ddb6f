"""Names of architectures and weights, and create_model: bundled copies, folders, the Hub, and every wrong name."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from stmga import zoo
from stmga.config import ARCHITECTURES
from stmga.hub import records
from stmga.hub import store as library
from stmga.hub.contents import contents
from stmga.hub.records import WeightRecord, WeightsError
from stmga.model import STMGA
from tests.support.hub import REPO, same, tiny
from tests.support.paths import ROOT

ARCH = "stmga_tiny"


@pytest.fixture(autouse=True)
def tiny_architecture(monkeypatch):
    """A small architecture of that name, so that a weight of it is quick."""
    monkeypatch.setitem(ARCHITECTURES, ARCH, tiny().config)


@pytest.fixture
def weights(monkeypatch, tmp_path):
    """The folder of bundled weights: a function that puts one there and gives the network it was made from."""
    folder = tmp_path / "weights"
    monkeypatch.setattr(records, "BUNDLED", folder)

    def bundle(tag: str, seed: int = 0, **entries) -> STMGA:
        model = tiny(seed)
        record = WeightRecord(name=f"{ARCH}.{tag}", config=model.config, sha256="0" * 64, **entries)
        model.save_pretrained(folder / record.name, record=record)
        return model

    return bundle


def refuse(*words: str, name=ARCH, **options) -> None:
    with pytest.raises(ValueError) as caught:
        zoo.create_model(name, **options)
    for word in words:
        assert word in str(caught.value), str(caught.value)


# ---------------------------------------------------------------------------------------------- architectures


def test_the_architectures_of_the_design():
    named = {"stmga_resnet50", "stmga_resnet50_light", "stmga_resnet50_c4", "stmga_resnet18_c4"}
    assert named <= set(zoo.list_models())
    assert zoo.list_models("*_c4") == ["stmga_resnet50_c4", "stmga_resnet18_c4"]
    assert zoo.list_models("nothing*") == []


def test_an_untrained_network_is_random_and_in_train_mode():
    a, b = zoo.create_model(ARCH), zoo.create_model(ARCH)
    assert a.training
    assert a.record is None
    assert a.config == ARCHITECTURES[ARCH]
    assert not same(a, b)


def test_the_trunk_alone_from_a_file(tmp_path):
    from safetensors.torch import save_file

    trunk = {key.removeprefix("backbone."): t for key, t in tiny(3).state_dict().items() if key.startswith("backbone.")}
    save_file(trunk, tmp_path / "trunk.safetensors")
    model = zoo.create_model(ARCH, backbone_weights=tmp_path / "trunk.safetensors")
    assert all(torch.equal(model.backbone.state_dict()[key], trunk[key]) for key in trunk)
    refuse("backbone_weights", backbone_missing=["layer4"])


def test_no_network_is_touched_without_being_asked(monkeypatch):
    import socket

    def never(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", never)
    zoo.create_model(ARCH)


# ---------------------------------------------------------------------------------------------- bundled weights


def test_bundled_weights(weights):
    assert zoo.list_weights() == []
    model = weights("walkers", licence="MIT", training_data="rendered figures")
    assert zoo.list_weights() == [f"{ARCH}.walkers"]
    assert zoo.list_weights("*resnet*") == []
    assert zoo.get_weights(f"{ARCH}.walkers").training_data == "rendered figures"
    for options in (
        {"pretrained": True},
        {"weights": "walkers"},
        {"weights": f"{ARCH}.walkers"},
        {"weights": zoo.get_weights(f"{ARCH}.walkers")},
        {"name": f"{ARCH}.walkers"},
        {"name": f"{ARCH}.walkers", "pretrained": True},
        {"weights": records.BUNDLED / f"{ARCH}.walkers"},
        {"weights": str(records.BUNDLED / f"{ARCH}.walkers"), "pretrained": True},
    ):
        loaded = zoo.create_model(**{"name": ARCH, **options})
        assert same(loaded, model), options
        assert not loaded.training
        assert loaded.record.name == f"{ARCH}.walkers"


def test_pretrained_models_are_listed_by_the_names_that_load(weights):
    assert zoo.list_models(pretrained=True) == []
    weights("b"), weights("a")
    names = [f"{ARCH}.a", f"{ARCH}.b"]
    for pattern in ("*", ARCH, "*tiny", "stmga_*", "*.?"):
        assert zoo.list_models(pattern, pretrained=True) == names, pattern
    assert zoo.list_models("*.a", pretrained=True) == names[:1]
    assert zoo.list_models("stmga_resnet50", pretrained=True) == []
    assert ARCH in zoo.list_models()  # as before: architectures, trained or not
    assert not set(names) & set(zoo.list_models())
    assert all(zoo.create_model(name).record.name == name for name in names)


def test_several_weights_of_one_architecture(weights, monkeypatch):
    weights("a"), weights("b", seed=1)
    refuse("several weights", "'a' or 'b'", pretrained=True)
    monkeypatch.setitem(zoo.DEFAULT_TAGS, ARCH, "b")
    assert zoo.create_model(ARCH, pretrained=True).record.tag == "b"
    assert zoo.create_model(ARCH, weights="a").record.tag == "a"


def test_a_bundled_weight_that_is_spoilt_is_refused(weights):
    weights("walkers")
    file = records.BUNDLED / f"{ARCH}.walkers" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    refuse("sha256", str(file), pretrained=True)


def test_a_weight_that_lies_only_in_a_checkout(weights):
    """A large one travels without its file: until its Hub copy is published, that is what the error says."""
    model = weights("large")
    folder = records.BUNDLED / f"{ARCH}.large"
    (folder / "model.safetensors").rename(folder.parent / "moved.safetensors")
    assert zoo.list_weights() == [f"{ARCH}.large"]
    assert zoo.get_transform(f"{ARCH}.large").size == model.config.size
    for options in ({"pretrained": True}, {"weights": "large"}, {"name": f"{ARCH}.large"}):
        refuse(
            f"{ARCH}.large are not on this machine, and their Hub copy has not been published yet",
            "load them from a checkout of the repository, or give the folder that holds them",
            f'weights="path" of create_model("{ARCH}")',
            **options,
        )
    (folder.parent / "moved.safetensors").rename(folder / "model.safetensors")
    assert same(zoo.create_model(ARCH, pretrained=True), model)


# ---------------------------------------------------------------------------------------------- records on the Hub


def test_a_record_on_the_hub_alone(weights, hub):
    model = weights("far")
    folder = records.BUNDLED / f"{ARCH}.far"
    pinned = hub.commit(REPO, {file.name: file.read_bytes() for file in folder.iterdir()})
    hub.commit(REPO, {"model.safetensors": b"main has moved on"})
    record = dataclasses.replace(zoo.get_weights(f"{ARCH}.far"), repo_id=REPO, revision=pinned)
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text(record.to_json())
    loaded = zoo.create_model(ARCH, pretrained=True)
    assert same(loaded, model)
    assert (loaded.record.name, loaded.record.revision) == (f"{ARCH}.far", pinned)
    hub.log.clear()
    assert same(zoo.create_model(f"{ARCH}.far"), model)
    assert same(zoo.create_model(ARCH, weights="far", local_files_only=True), model)
    assert hub.log == []


def test_the_hub_may_not_serve_other_weights_than_the_record_names(weights, hub):
    weights("far")
    folder = records.BUNDLED / f"{ARCH}.far"
    other = contents(tiny(1), None)  # a whole, consistent repository
    pinned = hub.commit(REPO, other)
    record = dataclasses.replace(zoo.get_weights(f"{ARCH}.far"), repo_id=REPO, revision=pinned)
    (folder / "model.safetensors").unlink()
    (folder / "config.json").write_text(record.to_json())
    refuse("model.safetensors", record.sha256, pretrained=True)


def test_a_folder_for_a_record(weights, tmp_path):
    model = weights("walkers")
    record = zoo.get_weights(f"{ARCH}.walkers")
    tiny(1).save_pretrained(tmp_path / "other")
    model.save_pretrained(tmp_path / "copy")
    assert same(library.load_record(record, folder=tmp_path / "copy", build=STMGA), model)
    with pytest.raises(WeightsError, match="other weights than"):
        library.load_record(record, folder=tmp_path / "other", build=STMGA)


def test_a_record_that_is_nowhere():
    record = WeightRecord(name=f"{ARCH}.lost", config=tiny().config, sha256="0" * 64)
    refuse("not on this machine", "not been published", weights=record)
    refuse("not been published", weights=dataclasses.replace(record, repo_id=REPO))  # of no commit: not pinned


# ---------------------------------------------------------------------------------------------- wrong names


def test_no_trained_weights_yet(weights):
    refuse("no trained weights of stmga_tiny", 'weights="path"', 'backbone_weights="imagenet"', pretrained=True)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("stmga_resnet5O", {}, ["no architecture 'stmga_resnet5O'", "'stmga_resnet50'"]),
        ("zzz", {}, ["there are", "stmga_resnet18_c4"]),
        ("user/model", {}, ["STMGA.from_pretrained('user/model')"]),
        ("./folder", {}, ["STMGA.from_pretrained('./folder')"]),
        (3, {}, ["not an architecture"]),
        (f"{ARCH}.walker", {}, [f"'{ARCH}.walkers'"]),
        (ARCH, {"weights": "walker"}, [f"'{ARCH}.walkers'"]),
        (ARCH, {"weights": "user/model"}, ["STMGA.from_pretrained('user/model')"]),
        (ARCH, {"weights": "./nowhere"}, ["no folder './nowhere'"]),
        (ARCH, {"weights": Path("nowhere")}, ["nowhere", "config.json"]),
        (f"{ARCH}.walkers", {"weights": "other"}, ["leave out weights='other'"]),
        (ARCH, {"pretrained": True, "backbone_weights": "imagenet"}, ["leave out backbone_weights"]),
        (
            "stmga_resnet50",
            {"weights": f"{ARCH}.walkers"},
            [f"{ARCH}.walkers is not a stmga_resnet50", "backbone='resnet18'"],
        ),
    ],
)
def test_wrong_names_say_what_to_type(weights, name, options, words):
    weights("walkers")
    refuse(*words, name=name, **options)


def test_a_folder_of_another_architecture(weights, tmp_path):
    tiny().save_pretrained(tmp_path / "mine")
    refuse("is not a stmga_resnet18_c4", "parts='none'", name="stmga_resnet18_c4", weights=tmp_path / "mine")
    small = STMGA(dataclasses.replace(tiny().config, size=(64, 32), clip_length=4))
    small.save_pretrained(tmp_path / "small")
    assert zoo.create_model(ARCH, weights=tmp_path / "small").config.size == (64, 32)


def test_transforms_by_name(weights, tmp_path):
    weights("walkers")
    assert zoo.get_transform(f"{ARCH}.walkers").size == tiny().config.size
    assert zoo.get_transform("stmga_resnet50").size == (256, 128)
    assert zoo.get_transform(ARCH, pretrained=True) == zoo.get_transform(f"{ARCH}.walkers")
    with pytest.raises(ValueError, match="no trained weights of stmga_resnet50_light"):
        zoo.get_transform("stmga_resnet50_light", pretrained=True)
    assert zoo.get_transform(records.BUNDLED / f"{ARCH}.walkers").size == tiny().config.size
    with pytest.raises(ValueError, match="stmga_resnet50"):
        zoo.get_transform("stmga_resnet5O")


def test_a_folder_called_like_an_architecture_is_not_in_the_way(weights, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = weights("walkers")
    (tmp_path / ARCH).mkdir()
    (tmp_path / f"{ARCH}.walkers").mkdir()
    assert zoo.create_model(ARCH).record is None
    assert same(zoo.create_model(f"{ARCH}.walkers"), model)
    assert zoo.get_transform(ARCH).size == tiny().config.size
    assert zoo.get_transform(f"{ARCH}.walkers").size == tiny().config.size
    tiny().save_pretrained(f"{ARCH}.mine")
    refuse(f"no weights called '{ARCH}.mine'", f"'./{ARCH}.mine'", name=f"{ARCH}.mine")


def test_importing_stays_light():
    code = (
        "import stmga.hub.store, stmga.zoo, sys; print(*({'torchvision', 'huggingface_hub', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
