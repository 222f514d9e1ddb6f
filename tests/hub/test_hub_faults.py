"""Faults of the Hub: it refuses, or sends wrong bytes. The error says what to do."""

from __future__ import annotations

import json
import os
import pickle
import time

import pytest
import torch

from stmga import STMGA
from stmga.hub import store as library
from stmga.hub.records import WeightsError
from tests.support.hub import REPO, WEIGHTS, flip, litter, read_only, refuse, same, sha256

# ---------------------------------------------------------------------------------------------- the Hub says no


def test_no_such_repository(hub):
    refuse(REPO, "HTTP 401", "hf auth login", "token=")


def test_no_such_repository_for_this_token(hub):
    refuse(REPO, "HTTP 404", token="hf_any")


def test_no_such_revision(hub, files):
    hub.commit(REPO, files)
    refuse(REPO, "'v9'", "branch, a tag or a commit", revision="v9")
    refuse("f" * 40, revision="f" * 40)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_no_such_file(hub, files, name):
    hub.commit(REPO, {key: data for key, data in files.items() if key != name})
    refuse(name, "push_to_hub")


def test_forbidden(hub, files):
    hub.commit(REPO, files)
    hub.fault("GET /api/.*", status=403)
    refuse("HTTP 403", "hf auth login")


def test_push_without_leave(hub, model):
    hub.fault("POST .*", status=401)
    with pytest.raises(WeightsError, match="hf auth login"):
        library.push(model, REPO, build=STMGA)


@pytest.mark.parametrize("where", [r"GET /api/.*", r"HEAD .*/config\.json", r"GET .*/config\.json", WEIGHTS])
def test_503_then_success(hub, files, model, where):
    hub.commit(REPO, files)
    hub.fault(where, status=503, times=1)
    assert same(STMGA.from_pretrained(REPO), model)


def test_503_for_ever(hub, files, tmp_path):
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, status=503)
    refuse("HTTP 503", "try again later")
    assert litter(tmp_path) == []


def test_503_and_cached(hub, files, model):
    hub.commit(REPO, files)
    STMGA.from_pretrained(REPO)
    hub.fault(".*", status=503)
    assert same(STMGA.from_pretrained(REPO), model)


# ---------------------------------------------------------------------------------------------- bad bytes


@pytest.mark.parametrize("lie", [False, True])
def test_a_short_body_then_a_whole_one(hub, files, model, tmp_path, lie):
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, change=lambda body: body[: len(body) // 2], times=1, lie=lie)
    assert same(STMGA.from_pretrained(REPO), model)
    assert litter(tmp_path) == []


@pytest.mark.parametrize("lie", [False, True])
def test_short_bodies_for_ever(hub, files, tmp_path, monkeypatch, lie):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client's own pauses
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, change=lambda body: body[:1000], lie=lie)
    refuse("model.safetensors", "try again later")
    assert litter(tmp_path) == []
    hub.faults.clear()
    STMGA.from_pretrained(REPO)


def test_a_flipped_byte_is_fetched_again(hub, files, model):
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, change=flip, times=1)
    assert same(STMGA.from_pretrained(REPO), model)
    assert sum(request.startswith("GET") and request.endswith("model.safetensors") for request in hub.log) == 2


def test_a_flipped_byte_twice_is_refused(hub, files, model, tmp_path):
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, change=flip)
    good, bad = sha256(files["model.safetensors"]), sha256(flip(files["model.safetensors"]))
    refuse("model.safetensors", good, bad, "fetched twice")
    assert sum(request.startswith("GET") and request.endswith("model.safetensors") for request in hub.log) == 2
    assert litter(tmp_path) == []
    assert not list((tmp_path / "cache").rglob("*.safetensors"))  # nobody else finds the bad copy
    hub.faults.clear()
    assert same(STMGA.from_pretrained(REPO), model)


def test_a_cached_file_that_rots_is_noticed_and_fetched_again(hub, files, model, tmp_path):
    commit = hub.commit(REPO, files)
    STMGA.from_pretrained(REPO, revision=commit)
    cached = next((tmp_path / "cache").rglob("model.safetensors")).resolve()
    cached.write_bytes(flip(files["model.safetensors"]))
    refuse("network access", sha256(files["model.safetensors"]), revision=commit, local_files_only=True)
    STMGA.from_pretrained(REPO, revision=commit)
    cached.write_bytes(flip(files["model.safetensors"]))
    hub.log.clear()
    assert same(STMGA.from_pretrained(REPO, revision=commit), model)
    assert f"GET /{REPO}/resolve/{commit}/model.safetensors" in hub.log
    hub.log.clear()
    assert same(STMGA.from_pretrained(REPO, revision=commit), model)
    assert hub.log == []  # the good copy replaced the bad one


def test_a_cached_file_that_rots_while_the_hub_is_away(hub, files, tmp_path, monkeypatch):
    commit = hub.commit(REPO, files)
    STMGA.from_pretrained(REPO, revision=commit)
    cached = next((tmp_path / "cache").rglob("model.safetensors")).resolve()
    cached.write_bytes(flip(files["model.safetensors"]))
    both = sha256(files["model.safetensors"]), sha256(flip(files["model.safetensors"]))
    with read_only(tmp_path):
        refuse(*both, "could not be fetched again", "Read-only", revision=commit, long=True)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refuse(*both, "could not be fetched again", "Could not download", revision=commit, long=True)


def test_a_spoilt_config_is_not_kept(hub, files, model):
    hub.commit(REPO, files)
    hub.fault(r"GET .*/config\.json", change=lambda body: body.replace(b"{", b"[", 1), times=1)
    refuse("config.json", "not valid JSON")
    assert same(STMGA.from_pretrained(REPO), model)


@pytest.mark.parametrize("named", ["right", "wrong"])
def test_a_pickle_named_safetensors(hub, files, named, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    for pickled in (pickle.dumps(Bomb()), torch_pickle(tmp_path)):
        config = files["config.json"]
        if named == "right":
            config = naming(files, pickled)
        hub.commit(REPO, {**files, "config.json": config, "model.safetensors": pickled})
        refuse("pickle", "never read")
    assert not (tmp_path / "run").exists()


def naming(files, data: bytes) -> bytes:
    """The record with the digest and the size of other bytes."""
    record = json.loads(files["config.json"])
    return json.dumps(record | {"sha256": sha256(data), "file_size": len(data)}).encode()


def torch_pickle(folder) -> bytes:
    torch.save({"a": torch.ones(2)}, folder / "a.pt")
    return (folder / "a.pt").read_bytes()


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file_with_its_own_digest(hub, files, length):
    short = files["model.safetensors"][:length]
    hub.commit(REPO, {**files, "config.json": naming(files, short), "model.safetensors": short})
    refuse("model.safetensors", "not a complete safetensors file", "save_pretrained")
