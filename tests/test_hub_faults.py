"""What goes wrong between a user and their weights: nothing half-written stays, and the error says what to do."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import time

import pytest
import torch
from hub_fixtures import REPO, files_fixture, hub_fixture, litter, model_fixture, read_only, same, tiny, use  # noqa: F401

from stmga import hub as library
from stmga.files import atomic_write
from stmga.records import WeightsError

WEIGHTS = r"GET .*/model\.safetensors"


def flip(data: bytes, at: int = -1) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def refuse(*words: str, source=REPO, long=False, **options) -> str:
    """Loading fails with ``words``, in three sentences at most (``long``: and the reason of a second try)."""
    with pytest.raises(WeightsError) as caught:
        library.load(source, **options)
    text = str(caught.value)
    for word in words:
        assert word in text, text
    assert text.count(". ") <= (3 if long else 2), text
    assert "\n" not in text
    assert len(text) < (1000 if long else 700), text
    return text


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
        library.push(model, REPO)


@pytest.mark.parametrize("where", [r"GET /api/.*", r"HEAD .*/config\.json", r"GET .*/config\.json", WEIGHTS])
def test_503_then_success(hub, files, model, where):
    hub.commit(REPO, files)
    hub.fault(where, status=503, times=1)
    assert same(library.load(REPO), model)


def test_503_for_ever(hub, files, tmp_path):
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, status=503)
    refuse("HTTP 503", "try again later")
    assert litter(tmp_path) == []


def test_503_and_cached(hub, files, model):
    hub.commit(REPO, files)
    library.load(REPO)
    hub.fault(".*", status=503)
    assert same(library.load(REPO), model)


# ---------------------------------------------------------------------------------------------- bad bytes


@pytest.mark.parametrize("lie", [False, True])
def test_a_short_body_then_a_whole_one(hub, files, model, tmp_path, lie):
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, change=lambda body: body[: len(body) // 2], times=1, lie=lie)
    assert same(library.load(REPO), model)
    assert litter(tmp_path) == []


@pytest.mark.parametrize("lie", [False, True])
def test_short_bodies_for_ever(hub, files, tmp_path, monkeypatch, lie):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)  # the client's own pauses
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, change=lambda body: body[:1000], lie=lie)
    refuse("model.safetensors", "try again later")
    assert litter(tmp_path) == []
    hub.faults.clear()
    library.load(REPO)


def test_a_flipped_byte_is_fetched_again(hub, files, model):
    hub.commit(REPO, files)
    hub.fault(WEIGHTS, change=flip, times=1)
    assert same(library.load(REPO), model)
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
    assert same(library.load(REPO), model)


def test_a_cached_file_that_rots_is_noticed_and_fetched_again(hub, files, model, tmp_path):
    commit = hub.commit(REPO, files)
    library.load(REPO, revision=commit)
    cached = next((tmp_path / "cache").rglob("model.safetensors")).resolve()
    cached.write_bytes(flip(files["model.safetensors"]))
    refuse("network access", sha256(files["model.safetensors"]), revision=commit, local_files_only=True)
    library.load(REPO, revision=commit)
    cached.write_bytes(flip(files["model.safetensors"]))
    hub.log.clear()
    assert same(library.load(REPO, revision=commit), model)
    assert f"GET /{REPO}/resolve/{commit}/model.safetensors" in hub.log
    hub.log.clear()
    assert same(library.load(REPO, revision=commit), model)
    assert hub.log == []  # the good copy took the bad one's place


def test_a_cached_file_that_rots_while_the_hub_is_away(hub, files, tmp_path, monkeypatch):
    commit = hub.commit(REPO, files)
    library.load(REPO, revision=commit)
    cached = next((tmp_path / "cache").rglob("model.safetensors")).resolve()
    cached.write_bytes(flip(files["model.safetensors"]))
    both = sha256(files["model.safetensors"]), sha256(flip(files["model.safetensors"]))
    with read_only(tmp_path):
        refuse(*both, "could not be fetched again", "Read-only", revision=commit, long=True)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    refuse(*both, "could not be fetched again", "cannot be reached", revision=commit, long=True)


def test_a_spoilt_config_is_not_kept(hub, files, model):
    hub.commit(REPO, files)
    hub.fault(r"GET .*/config\.json", change=lambda body: body.replace(b"{", b"[", 1), times=1)
    refuse("config.json", "no JSON")
    assert same(library.load(REPO), model)


@pytest.mark.parametrize("named", ["right", "wrong"])
def test_a_pickle_named_safetensors(hub, files, named, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    for pickled in (pickle.dumps(Bomb()), torch_pickle(tmp_path)):
        config = files["config.json"]
        if named == "right":
            config = config.replace(sha256(files["model.safetensors"]).encode(), sha256(pickled).encode())
        hub.commit(REPO, {**files, "config.json": config, "model.safetensors": pickled})
        refuse("pickle", "never read")
    assert not (tmp_path / "run").exists()


def torch_pickle(folder) -> bytes:
    torch.save({"a": torch.ones(2)}, folder / "a.pt")
    return (folder / "a.pt").read_bytes()


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file_with_its_own_digest(hub, files, length):
    short = files["model.safetensors"][:length]
    config = files["config.json"].replace(sha256(files["model.safetensors"]).encode(), sha256(short).encode())
    hub.commit(REPO, {**files, "config.json": config, "model.safetensors": short})
    refuse("model.safetensors", "no whole safetensors file", "save_pretrained")


# ---------------------------------------------------------------------------------------------- bad folders


def spoil(folder, files, *, state=None, config=None) -> None:
    """The saved folder with another state dict under its true digest, or other entries in config.json."""
    from safetensors.torch import save

    weights = files["model.safetensors"] if state is None else save(state)
    data = {**json.loads(files["config.json"]), "sha256": sha256(weights), **(config or {})}
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
        ({"config": {"part_scales": 3}}, ["config.json"]),
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


# ---------------------------------------------------------------------------------------------- disks and networks


def test_a_read_only_cache_serves_what_it_has(hub, files, model, tmp_path):
    hub.commit(REPO, files)
    library.load(REPO)
    hub.commit(REPO, {"README.md": b"new"})
    hub.commit(REPO, files)
    with read_only(tmp_path), pytest.raises(OSError, match="Read-only"):
        (tmp_path / "cache" / "x").write_text("the simulation works")
    first = hub.sha(REPO, 0)
    with read_only(tmp_path):
        assert same(library.load(REPO, revision=first), model)
        assert same(library.load(REPO, local_files_only=True), model)


def test_a_read_only_cache_that_lacks_the_file(hub, files, tmp_path):
    hub.commit(REPO, files)
    with read_only(tmp_path):
        refuse(str(tmp_path / "cache"), "Read-only", "cache_dir=", "HF_HOME")
    assert litter(tmp_path) == []


def test_a_full_disk_while_downloading(hub, files, tmp_path, monkeypatch):
    from huggingface_hub import file_download

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    hub.commit(REPO, files)
    monkeypatch.setattr(file_download, "_chmod_and_move", full)
    refuse("No space left", "cache_dir=")
    assert litter(tmp_path) == []


@pytest.mark.parametrize("revision", [None, "v1", "a" * 40])
def test_no_network_and_nothing_cached(tmp_path, monkeypatch, revision):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    start = time.monotonic()
    refuse("http://127.0.0.1:9", "cannot be reached", "folder", revision=revision)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("revision", [None, "a" * 40])
def test_offline_and_nothing_cached(hub, revision):
    refuse("offline", REPO, "Load it once with network", revision=revision, local_files_only=True)
    assert hub.log == []


def test_offline_push(model, tmp_path, monkeypatch):
    use(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(WeightsError, match=r"Nothing was uploaded.*no connection"):
        library.push(model, REPO)


def test_offline_mode_uploads_nothing(hub, model, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"Nothing was uploaded.*HF_HUB_OFFLINE"):
        library.push(model, REPO)
    assert hub.log == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_while_saving(model, tmp_path, monkeypatch, call):
    model.save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, full)
        with pytest.raises(OSError, match=r"No space left.*untouched") as caught:
            tiny(seed=1).save_pretrained(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert str(tmp_path) in str(caught.value)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert same(library.load(tmp_path), model)


def test_the_disk_fills_at_the_last_of_the_files(model, tmp_path, monkeypatch):
    """Weights fit, config.json does not: the folder keeps the old pair and not one new and one old file."""
    model.save_pretrained(tmp_path)
    done = []

    def full(descriptor):
        done.append(descriptor)
        if len(done) == 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            tiny(seed=1).save_pretrained(tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    assert same(library.load(tmp_path), model)


def test_atomic_write(tmp_path):
    atomic_write(tmp_path / "a", b"1")
    atomic_write(str(tmp_path / "a"), b"2")
    assert (tmp_path / "a").read_bytes() == b"2"
    assert [file.name for file in tmp_path.iterdir()] == ["a"]
    with pytest.raises(FileNotFoundError, match="nowhere"):
        atomic_write(tmp_path / "nowhere" / "a", b"1")


def test_a_folder_that_cannot_be_written(model, tmp_path):
    with read_only(tmp_path), pytest.raises(OSError, match="Read-only"):
        model.save_pretrained(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
