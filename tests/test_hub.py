"""Save, load and push as a user does, with the real huggingface_hub client against a Hub on loopback."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub
from hub_fixtures import REPO, TINY, files_fixture, hub_fixture, model_fixture, same, tiny, use  # noqa: F401

from stmga import hub as library
from stmga.card import model_card
from stmga.model import STMGA
from stmga.records import WeightRecord, WeightsError, read_record

ROOT = Path(__file__).parents[1]


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


# ---------------------------------------------------------------------------------------------- the Hub


def test_create_push_load(hub, model):
    commit = library.push(model, REPO)
    assert commit == hub.sha(REPO, 1)
    assert sorted(hub.repos[REPO][-1]) == ["README.md", "config.json", "model.safetensors"]
    assert f'from_pretrained("{REPO}")' in hub.repos[REPO][-1]["README.md"].decode()
    again = STMGA.from_pretrained(REPO)
    assert same(again, model)
    assert (again.record.repo_id, again.record.revision) == (REPO, commit)
    library.push(model, REPO)  # a second push to a repository that exists


def test_push_a_folder_as_it_is(hub, model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("# my own words")
    (tmp_path / "secret.txt").write_text("stays here")
    library.push(tmp_path, REPO)
    assert sorted(hub.repos[REPO][-1]) == ["README.md", "config.json", "model.safetensors"]
    assert hub.repos[REPO][-1]["README.md"] == b"# my own words"


@pytest.mark.parametrize("fault", ["flip", "no config", "no weights", "no card", "no folder"])
def test_a_bad_folder_is_not_pushed(hub, model, tmp_path, fault):
    model.save_pretrained(tmp_path)
    lost = {"no config": "config.json", "no weights": "model.safetensors", "no card": "README.md"}.get(fault)
    if lost:
        (tmp_path / lost).unlink()
    if fault == "flip":
        data = bytearray((tmp_path / "model.safetensors").read_bytes())
        data[-1] ^= 1
        (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match=lost or ("sha256" if fault == "flip" else "config.json")):
        library.push(tmp_path / "nowhere" if fault == "no folder" else tmp_path, REPO)
    assert hub.log == []


def test_config_and_weights_come_from_one_commit(hub, model, files):
    """main moves between the two downloads: what is loaded is what main was when loading began."""
    first = hub.commit(REPO, files)
    original = hub.take_fault

    def move(request):
        if request.endswith("config.json") and request.startswith("GET"):
            library_files = saved(tiny(seed=1))
            hub.commit(REPO, library_files)
        return original(request)

    hub.take_fault = move
    again = library.load(REPO)
    assert len(hub.repos[REPO]) == 2
    assert same(again, model)
    assert again.record.revision == first


def test_a_pinned_revision_stays_while_main_moves(hub, model, files):
    first = hub.commit(REPO, files)
    second = hub.commit(REPO, saved(tiny(seed=1)))
    assert same(library.load(REPO, revision=first), model)
    assert same(library.load(REPO), tiny(seed=1))
    assert library.load(REPO).record.revision == second
    hub.log.clear()
    assert same(library.load(REPO, revision=first), model)
    assert hub.log == []  # pinned and cached: no request even online


@pytest.mark.parametrize("how", ["argument", "variable", "dead Hub"])
def test_offline_makes_no_request(hub, model, files, how, monkeypatch):
    hub.commit(REPO, files)
    library.load(REPO)
    hub.log.clear()
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if how == "dead Hub":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert same(library.load(REPO, local_files_only=how == "argument"), model)
    assert hub.log == []


def test_cache_dir_is_where_the_files_go(hub, files, tmp_path):
    hub.commit(REPO, files)
    library.load(REPO, cache_dir=tmp_path / "mine")
    assert list((tmp_path / "mine").rglob("model.safetensors"))
    assert not (tmp_path / "cache").exists()


def test_an_older_huggingface_hub(hub, model, files, monkeypatch):
    from huggingface_hub import HfApi

    monkeypatch.delattr(HfApi, "resolve_revision")
    commit = hub.commit(REPO, files)
    again = library.load(REPO)
    assert same(again, model)
    assert again.record.revision == commit
    hub.log.clear()
    assert same(library.load(REPO, local_files_only=True), model)
    assert hub.log == []


def test_tokens(files, model, monkeypatch, tmp_path):
    with FakeHub(token="hf_right") as private:
        use(monkeypatch, private.url, tmp_path)
        private.commit(REPO, files)
        with pytest.raises(WeightsError, match="hf auth login"):
            library.load(REPO)
        assert same(library.load(REPO, token="hf_right"), model)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        assert same(library.load(REPO, cache_dir=tmp_path / "other"), model)


def test_another_host_never_sees_the_token(files, model, monkeypatch, tmp_path):
    with FakeHub(redirect=True, token="hf_right") as private:
        use(monkeypatch, private.url, tmp_path)
        private.commit(REPO, files)
        assert same(library.load(REPO, token="hf_right"), model)
        cdn = [request for request in private.log if "/cdn/" in request]
        assert cdn
        assert not set(cdn) & set(private.auth)
        assert private.auth


def test_a_clean_process_with_the_users_variables(hub, model, tmp_path):
    """HF_HOME and HF_ENDPOINT as a user sets them, before anything is imported; then offline by variable."""
    library.push(model, REPO)
    code = f"import stmga.hub; print(stmga.hub.load({REPO!r}).digest())"
    import os

    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    env = {**clean, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    online = {**env, "HF_ENDPOINT": hub.url}
    offline = {**env, "HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "1"}
    for environment, quiet in ((online, False), (offline, True)):
        hub.log.clear()
        done = subprocess.run(
            [sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.stdout.strip() == model.digest(), done.stderr
        assert (hub.log == []) == quiet
    assert list((tmp_path / "home" / "hub").rglob("model.safetensors"))


def saved(model: STMGA) -> dict[str, bytes]:
    return library._contents(model, None)
