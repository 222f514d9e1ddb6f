"""Weights in a folder: bit-exact there and back, with their record and their card."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from hub_fixtures import REPO, TINY, files_fixture, model_fixture, same, tiny  # noqa: F401

from stmga import hub as library
from stmga.card import model_card
from stmga.model import STMGA
from stmga.records import WeightRecord, WeightsError, read_record

# ---------------------------------------------------------------------------------------------- folders


def test_round_trip_is_bit_exact(model, tmp_path):
    model.save_pretrained(tmp_path / "deep" / "folder")
    again = STMGA.from_pretrained(tmp_path / "deep" / "folder")
    clips = torch.randn(2, 2, 3, 32, 16)
    assert same(model, again)
    assert again.digest() == model.digest()
    assert torch.equal(again(clips), model(clips))
    assert not again.training
    assert all(p.requires_grad for p in again.parameters())


def test_a_folder_holds_three_files_and_its_own_digest(files):
    assert sorted(files) == ["README.md", "config.json", "model.safetensors"]
    data = json.loads(files["config.json"])
    assert data["library"] == "stmga"
    assert data["sha256"] == library._sha256(files["model.safetensors"])


def test_saving_twice_gives_the_same_bytes(model, files, tmp_path):
    for i in range(5):
        model.save_pretrained(tmp_path / str(i))
        assert (tmp_path / str(i) / "model.safetensors").read_bytes() == files["model.safetensors"]


def test_loading_moves_no_random_number(files, tmp_path):
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    before = torch.get_rng_state()
    library.load(tmp_path)
    assert torch.equal(before, torch.get_rng_state())


def test_half_precision_is_saved_small_and_loaded_as_float32(tmp_path):
    half = tiny().to(torch.bfloat16)
    half.save_pretrained(tmp_path)
    again = library.load(tmp_path)
    assert again.neck.weight.dtype == torch.float32
    assert (tmp_path / "model.safetensors").stat().st_size < 0.6 * sum(p.numel() * 4 for p in half.parameters())
    assert torch.equal(again.neck.running_mean, half.neck.running_mean.float())


def test_wrappers_and_their_prefixes_are_stripped(model, tmp_path):
    class Wrapper(torch.nn.Module):  # what DistributedDataParallel looks like to state_dict
        def __init__(self, module):
            super().__init__()
            self.module = module

    library.save(Wrapper(model), tmp_path / "ddp")
    library.save(torch.compile(model, backend="eager"), tmp_path / "compiled")
    partly = tiny()
    partly.backbone = torch.compile(partly.backbone, backend="eager")
    assert any("_orig_mod" in key for key in partly.state_dict())
    library.save(partly, tmp_path / "partly")
    for name in ("ddp", "compiled", "partly"):
        assert same(library.load(tmp_path / name), model)


def test_only_an_stmga_can_be_saved(tmp_path):
    with pytest.raises(WeightsError, match="not Linear"):
        library.save(torch.nn.Linear(2, 2), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_model_that_lost_a_part_is_not_saved(tmp_path):
    broken = tiny()
    broken.neck = torch.nn.Identity()
    with pytest.raises(WeightsError, match=r"this model .*missing \(neck\.weight"):
        broken.save_pretrained(tmp_path)


def test_the_record_is_kept_while_the_weights_are_what_it_says(model, tmp_path):
    record = WeightRecord(
        name="stmga_tiny.test",
        config=TINY,
        sha256="0" * 64,  # save fills it in
        metrics=({"data": "walkers", "mAP": 0.5},),
        training_data="rendered figures",
        licence="CC-BY-NC-4.0",
        terms="no pictures of people",
    )
    model.save_pretrained(tmp_path / "a", record=record)
    loaded = library.load(tmp_path / "a")
    loaded.save_pretrained(tmp_path / "b")
    kept = read_record(tmp_path / "b")
    assert kept == dataclasses.replace(record, sha256=kept.sha256, folder=tmp_path / "b")
    with torch.no_grad():
        loaded.neck.weight.add_(1)
    loaded.save_pretrained(tmp_path / "c")
    tuned = read_record(tmp_path / "c")
    assert tuned.name == ""
    assert tuned.metrics == ()
    assert tuned.training_data == "Started from stmga_tiny.test. rendered figures"
    assert (tuned.licence, tuned.terms) == (record.licence, record.terms)


def test_a_record_of_another_network_is_refused(model, tmp_path):
    other = WeightRecord(name="a.b", config=dataclasses.replace(TINY, gamma=8), sha256="0" * 64)
    with pytest.raises(WeightsError, match="config is not the model's"):
        model.save_pretrained(tmp_path, record=other)


def test_the_transform_belongs_to_the_record(files, tmp_path):
    record = WeightRecord.from_json(files["config.json"])
    assert record.transform().size == TINY.size


def test_a_record_survives_json():
    record = WeightRecord(name="a.b", config=TINY, sha256="0" * 64, metrics=({"mAP": 0.5},), revision="1" * 40)
    assert WeightRecord.from_json(record.to_json()) == record
    assert (record.arch, record.tag) == ("a", "b")


# ---------------------------------------------------------------------------------------------- model card


def test_the_card_says_what_the_record_says_and_no_more():
    record = WeightRecord(name="stmga_tiny.test", config=TINY, sha256="0" * 64, repo_id=REPO, revision="1" * 40)
    bare = model_card(record)
    assert "license" not in bare
    assert "None measured." in bare
    assert "does not say what it was trained on" in bare
    assert f'from_pretrained("{REPO}", revision="{"1" * 40}")' in bare
    full = model_card(
        dataclasses.replace(record, licence="MIT", metrics=({"data": "x|y", "mAP": 0.5}, {"data": "z", "rank-1": 0.7}))
    )
    assert "license: mit" in full
    assert "| data | mAP | rank-1 |\n| --- | --- | --- |\n| x\\|y | 0.5 |  |\n| z |  | 0.7 |" in full
    assert 'license: other\nlicense_name: "My: own"' in model_card(dataclasses.replace(record, licence="My: own"))


def test_the_card_is_one_that_the_hub_accepts():
    from huggingface_hub import ModelCard

    record = WeightRecord(name="stmga_tiny.test", config=TINY, sha256="0" * 64, licence='the "x" licence: v1')
    data = ModelCard(model_card(record)).data.to_dict()
    assert data["library_name"] == "stmga"
    assert data["license"] == "other"
    assert data["license_name"] == 'the "x" licence: v1'
    assert "person-re-identification" in data["tags"]
