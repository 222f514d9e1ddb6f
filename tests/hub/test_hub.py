"""Push and load as a user does, with the real huggingface_hub client against a Hub on loopback."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import pytest

from stmga.hub import store as library
from stmga.hub.contents import contents
from stmga.hub.records import WeightRecord, WeightsError, read_record
from stmga.model import STMGA
from tests.support.fake_hub import FakeHub
from tests.support.hub import REPO, same, tiny, use
from tests.support.paths import ROOT


def test_create_push_load(hub, model):
    commit = library.push(model, REPO, build=STMGA)
    assert commit == hub.sha(REPO, 1)
    assert sorted(hub.repos[REPO][-1]) == ["README.md", "config.json", "model.safetensors"]
    assert f'from_pretrained("{REPO}")' in hub.repos[REPO][-1]["README.md"].decode()
    again = STMGA.from_pretrained(REPO)
    assert same(again, model)
    assert (again.record.repo_id, again.record.revision) == (REPO, commit)
    library.push(model, REPO, build=STMGA)  # a second push to a repository that exists


def test_the_message_of_a_commit_is_the_same_either_way():
    ways = [inspect.signature(push).parameters for push in (library.push, STMGA.push_to_hub)]
    assert [way["commit_message"].default for way in ways] == ["Upload weights with stmga"] * 2


def test_push_a_folder_as_it_is(hub, model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("# my own words")
    (tmp_path / "secret.txt").write_text("stays here")
    library.push(tmp_path, REPO, build=STMGA)
    assert sorted(hub.repos[REPO][-1]) == ["README.md", "config.json", "model.safetensors"]
    assert hub.repos[REPO][-1]["README.md"] == b"# my own words"


def test_the_log_that_a_record_names_is_pushed_with_it(hub, model, tmp_path):
    record = WeightRecord(name="stmga_tiny.a", config=model.config, sha256="0" * 64, log="log.jsonl")
    model.save_pretrained(tmp_path, record=record, half=True)
    (tmp_path / "log.jsonl").write_text('{"epoch": 1}\n')
    commit = library.push(tmp_path, REPO, build=STMGA)
    assert sorted(hub.repos[REPO][-1]) == ["README.md", "config.json", "log.jsonl", "model.safetensors"]
    published = dataclasses.replace(STMGA.from_pretrained(tmp_path).record, repo_id=REPO, revision=commit)
    STMGA.from_pretrained(tmp_path).save_pretrained(tmp_path, record=published)  # what a maintainer does next
    assert (read_record(tmp_path).published, read_record(tmp_path).sha256) == (True, published.sha256)
    assert same(
        library.load_record(dataclasses.replace(published, folder=None), build=STMGA), STMGA.from_pretrained(tmp_path)
    )


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
        library.push(tmp_path / "nowhere" if fault == "no folder" else tmp_path, REPO, build=STMGA)
    assert hub.log == []


def test_config_and_weights_come_from_one_commit(hub, model, files):
    """main moves between the two downloads: both files come from the commit that was main at the start."""
    first = hub.commit(REPO, files)
    original = hub.take_fault

    def move(request):
        if request.endswith("config.json") and request.startswith("GET"):
            library_files = saved(tiny(seed=1))
            hub.commit(REPO, library_files)
        return original(request)

    hub.take_fault = move
    again = STMGA.from_pretrained(REPO)
    assert len(hub.repos[REPO]) == 2
    assert same(again, model)
    assert again.record.revision == first


def test_a_pinned_revision_stays_while_main_moves(hub, model, files):
    first = hub.commit(REPO, files)
    second = hub.commit(REPO, saved(tiny(seed=1)))
    assert same(STMGA.from_pretrained(REPO, revision=first), model)
    assert same(STMGA.from_pretrained(REPO), tiny(seed=1))
    assert STMGA.from_pretrained(REPO).record.revision == second
    hub.log.clear()
    assert same(STMGA.from_pretrained(REPO, revision=first), model)
    assert hub.log == []  # pinned and cached: no request even online


@pytest.mark.parametrize("how", ["argument", "variable", "dead Hub"])
def test_offline_makes_no_request(hub, model, files, how, monkeypatch):
    hub.commit(REPO, files)
    STMGA.from_pretrained(REPO)
    hub.log.clear()
    if how == "variable":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if how == "dead Hub":
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert same(STMGA.from_pretrained(REPO, local_files_only=how == "argument"), model)
    assert hub.log == []


def test_cache_dir_is_where_the_files_go(hub, files, tmp_path):
    hub.commit(REPO, files)
    STMGA.from_pretrained(REPO, cache_dir=tmp_path / "mine")
    assert list((tmp_path / "mine").rglob("model.safetensors"))
    assert not (tmp_path / "cache").exists()


def test_tokens(files, model, monkeypatch, tmp_path):
    with FakeHub(token="hf_right") as private:
        use(monkeypatch, private.url, tmp_path)
        private.commit(REPO, files)
        with pytest.raises(WeightsError, match="hf auth login"):
            STMGA.from_pretrained(REPO)
        assert same(STMGA.from_pretrained(REPO, token="hf_right"), model)
        monkeypatch.setenv("HF_TOKEN", "hf_right")
        assert same(STMGA.from_pretrained(REPO, cache_dir=tmp_path / "other"), model)


def test_another_host_never_sees_the_token(files, model, monkeypatch, tmp_path):
    with FakeHub(redirect=True, token="hf_right") as private:
        use(monkeypatch, private.url, tmp_path)
        private.commit(REPO, files)
        assert same(STMGA.from_pretrained(REPO, token="hf_right"), model)
        cdn = [request for request in private.log if "/cdn/" in request]
        assert cdn
        assert not set(cdn) & set(private.auth)
        assert private.auth


def test_a_clean_process_with_the_users_variables(hub, model, tmp_path):
    """HF_HOME and HF_ENDPOINT as a user sets them, before anything is imported; then offline by variable."""
    library.push(model, REPO, build=STMGA)
    code = f"import stmga; print(stmga.STMGA.from_pretrained({REPO!r}).digest())"
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
    return contents(model, None)
