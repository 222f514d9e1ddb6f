"""Folders that cannot be loaded, and what the error says of them."""

from __future__ import annotations

import json

import pytest
import torch

from tests.support.hub import flip, refuse, sha256, tiny


def spoil(folder, files, *, state=None, config=None) -> None:
    """The saved folder with another state dict under its true digest, or other entries in config.json."""
    from safetensors.torch import save

    weights = files["model.safetensors"] if state is None else save(state)
    data = {**json.loads(files["config.json"]), "sha256": sha256(weights), "file_size": len(weights)}
    data |= config or {}
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_text(json.dumps(data))


def test_keys_that_do_not_fit(files, tmp_path):
    state = tiny().state_dict()
    del state["neck.bias"]
    state["head.weight"] = torch.ones(3)
    state["neck.weight"] = torch.ones(5)
    spoil(tmp_path, files, state=state)
    refuse(
        "1 missing (neck.bias)",
        "1 unexpected (head.weight)",
        "1 of another shape (neck.weight (5,) instead of (256,))",
        "save_pretrained",
        source=tmp_path,
    )


@pytest.mark.parametrize("key", ["neck.bias", "neck.num_batches_tracked", "backbone.conv1.weight"])
def test_one_missing_key(files, tmp_path, key):
    state = tiny().state_dict()
    del state[key]
    spoil(tmp_path, files, state=state)
    refuse(f"1 missing ({key})", source=tmp_path)


def test_a_list_of_keys_is_bounded(files, tmp_path):
    spoil(tmp_path, files, state={f"module.{key}": t for key, t in tiny().state_dict().items()})
    text = refuse("missing", "unexpected", "more", source=tmp_path)
    assert text.count("backbone.") <= 12


def test_a_flipped_byte_in_a_folder(files, tmp_path):
    spoil(tmp_path, files)
    (tmp_path / "model.safetensors").write_bytes(flip(files["model.safetensors"]))
    good, bad = sha256(files["model.safetensors"]), sha256(flip(files["model.safetensors"]))
    refuse(str(tmp_path / "model.safetensors"), good, bad, source=tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "9.9", "config": {"new": 1}}, ["new", "9.9"]),
        ({"version": "9.9", "colour": "red"}, ["colour", "9.9", "update"]),
        ({"library": "other"}, ["not written by stmga"]),
        ({"sha256": "abc"}, ["sha256", "64"]),
        ({"file": "../../etc/model.safetensors"}, ["file", "plain"]),
        ({"file": "model.bin"}, ["file", "pickle"]),
        ({"config": None}, ["config.json"]),
        ({"config": [1]}, ["config.json"]),
        ({"config": {"backbone": "vgg"}}, ["vgg", "resnet18"]),
        ({"config": {"part_scales": "3"}}, ["config.json"]),
        ({"metrics": 3}, ["config.json"]),
        ({"metrics": [3]}, ["metrics"]),
        ({"revision": "main"}, ["revision", "40"]),
        ({"name": 3}, ["name"]),
    ],
)
def test_a_config_that_cannot_be_used(files, tmp_path, change, words):
    spoil(tmp_path, files, config=change)
    refuse("config.json", *words, source=tmp_path)


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff\xfe", b'{"library": "stmga"}'])
def test_a_config_that_is_none(files, tmp_path, text):
    spoil(tmp_path, files)
    (tmp_path / "config.json").write_bytes(text)
    refuse("config.json", source=tmp_path)


def test_folders_that_hold_nothing(tmp_path, files):
    refuse("config.json", "save_pretrained", source=tmp_path)
    spoil(tmp_path, files)
    (tmp_path / "model.safetensors").unlink()
    refuse("model.safetensors", source=tmp_path)
    (tmp_path / "model.safetensors").mkdir()
    refuse("model.safetensors", source=tmp_path)
    refuse("revision", source=tmp_path, revision="main")


def test_names_that_are_none(hub, tmp_path):
    refuse("no folder", "create_model", source="stmga_resnet18_c4.walkers")
    refuse("no folder", source=tmp_path / "nowhere")
    refuse("no folder", source="./user/model")
    refuse("revision='v1'", source="user/model@v1")
    refuse("check the spelling", source="user/mo--del")
    assert hub.log == []
