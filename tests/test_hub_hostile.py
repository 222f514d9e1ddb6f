"""Weights folders of strangers: each is refused with WeightsError, at once and in little memory, or is right."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import copy
import json
import os
import pickle
import struct
import time
import tracemalloc

import numpy as np
import pytest
import torch
from hub_fixtures import files_fixture, model_fixture, sha256  # noqa: F401

from stmga import STMGA, TrackletEmbedder
from stmga.hub.records import WeightsError

THRESHOLD = {"false_match_rate": 1e-3, "similarity": 0.5, "true_match_rate": 0.9}
CALIBRATION = {
    "thresholds": [THRESHOLD], "lower": 0.4, "impostor_pairs": 10, "genuine_pairs": 10, "persons": 3, "digest": "x",
    "data": "d",
}  # fmt: skip
NAN, INF = float("nan"), float("inf")


def write(folder, files, weights=None, raw=None, change=None):
    """A saved folder with other weights under their true digest, other text, or a record that ``change`` edits."""
    weights = files["model.safetensors"] if weights is None else weights
    record = json.loads(files["config.json"]) | {"sha256": sha256(weights), "file_size": len(weights)}
    if change is not None:
        record = change(record) or record
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_bytes(json.dumps(record).encode() if raw is None else raw(json.dumps(record)))
    return folder


def load(folder):
    """What a stranger's folder does: it is loaded, embeds and is saved again; all within a second."""
    start = time.monotonic()
    model = STMGA.from_pretrained(folder)
    assert time.monotonic() - start < 2
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 32, 3), dtype=np.uint8)
    vectors = TrackletEmbedder(model)({"a": frames}).vectors
    assert torch.allclose(vectors.norm(dim=1), torch.ones(1), atol=1e-4)
    model.save_pretrained(folder / "again")
    return model


def refused(folder, *words):
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        STMGA.from_pretrained(folder)
    seconds, (_, peak) = time.monotonic() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    text = str(caught.value)
    assert seconds < 3 and peak < 200e6, (seconds, peak)
    assert len(text) < 1000 + 2 * len(str(folder)) and "\x1b" not in text and "\n" not in text
    for word in words:
        assert word in text


def net(**entries):
    return lambda record: record["config"].update(entries)


def top(**entries):
    return lambda record: record.update(entries)


def calibration(**entries):
    return top(calibration=CALIBRATION | entries)


RECORDS = {
    **{f"tau {v!r}": net(tau=v) for v in (NAN, INF, "0.05", 1e-320, True, None, [1], 10**400)},
    **{f"mean {v!r}": net(mean=v) for v in ([NAN] * 3, list("abc"), [None, 0, 0], [4.85, 0, 0], [0, 0], 3, "abc")},
    **{f"std {v!r}": net(std=v) for v in ([NAN] * 3, [INF] * 3, [0, 1, 1], [1e-320] * 3, {"a": 1})},
    **{f"size {v!r}": net(size=v) for v in ([32.5, 16], [10**9] * 2, [10**5] * 2, [True, True], "ab", [32], None)},
    **{f"clip_length {v!r}": net(clip_length=v) for v in (1.5, 10**12, 10**7, True, "8", None, 0)},
    **{
        f"part_scales {str(v)[:20]!r}": net(part_scales=v)
        for v in ([1] * 10**5, [1, 10**9], [1, 10**19], [1.0, 2.0], "124", {"1": 2}, [True], [], [[1]], None)
    },
    **{
        f"temporal_scales {str(v)[:20]!r}": net(temporal_scales=v, t_mga=True)
        for v in ([10**9 + 1], [1] * 10**5, [1.0, 3.0], [2], "135")
    },
    **{f"relation_dim {v!r}": net(relation_dim=v) for v in (10**12, 10**30, 12.5, "a", 0)},
    **{f"gamma {v!r}": net(gamma=v) for v in (16.5, "16", 10**40, -1, None)},
    **{f"eta {v!r}": net(eta=v) for v in (1.5, 0, True)},
    **{f"backbone {v!r}": net(backbone=v) for v in (["resnet18"], "../../x", "__class__", None, {})},
    "stage": net(stage=[]), "order": net(order={}), "parts": net(parts=1), "t_mga": net(t_mga="False"),
    "unknown setting": net(evil=1), "unknown settings": net(**{f"\x1bk{i}": 1 for i in range(5000)}),
    **{f"config {v!r}": top(config=v) for v in ([1, 2], None, 5, "abc", "", [], [["tau", 0.1]])},
    "unknown key": top(evil="\x1b[2Jx"), "unknown escaped key": top(**{"\x1b[2J": 1}),
    "many unknown keys": top(**{f"k{i}": 1 for i in range(10**5)}),
    **{
        f"file {v[:20]!r}" if isinstance(v, str) else f"file {v}": top(file=v)
        for v in (
            "../model.safetensors", "/etc/passwd.safetensors", "a\0b.safetensors", "a\nb.safetensors", "\ud800.safetensors",
            "a" * 5000 + ".safetensors", "pytorch_model.bin", ["x"], "config.json", "*.safetensors", "", ".safetensors",
            "C:\\a.safetensors", "a/b.safetensors", "none.safetensors",
        )
    },
    **{
        f"log {v!r}": top(log=v)
        for v in ("*", "..", "config.json", "model.safetensors", "?.jsonl", "[a].jsonl", "a/b.jsonl", "secret.env", 5, ".jsonl")
    },
    **{f"sha256 {v!r}": top(sha256=v) for v in ("A" * 64, "ab", 5, "0" * 64, None, "\x1b" * 64)},
    **{f"file_size {v!r}": top(file_size=v) for v in (-1, 10**18, True, 1.5, "1", 1)},
    **{f"metrics {v!r}": top(metrics=v) for v in ("abc", 5, {"a": 1}, [1], [[1]])},
    "text with an escape": top(metrics=[{"data": "\x1b[31m"}]), "text with a half pair": top(terms="\ud800"),
    "key with an escape": top(stages=[{"\x1b[31m": 1}]), "reversed text": top(licence="MIT \u202e"),
    "frames without figures": top(frames=[{"thresholds": [{"similarity": 0.5}]}]),
    "frames with text": top(frames=[{"thresholds": [THRESHOLD | {"similarity": "0.5"}]}]),
    "frames with a number": top(frames=[{"thresholds": 5}]), "cameras without names": top(camera_pairs=[{"mAP": 1}]),
    "figure not finite": top(metrics=[{"mAP": INF}]),
    **{f"calibration {v!r}": top(calibration=v) for v in ("x", [1], {}, 5)},
    **{
        f"calibration {k} {v!r}": calibration(**{k: v})
        for k, v in (
            ("lower", "abc"), ("lower", None), ("lower", True), ("lower", INF), ("impostor_pairs", "many"), ("persons", -1),
            ("data", 5), ("digest", 5), ("thresholds", []), ("thresholds", {}), ("roc", [[1, 2]]), ("persons", 10**30),
            ("evil", 1),
        )
    },
    **{
        f"threshold {k} {v!r}": calibration(thresholds=[THRESHOLD | {k: v}])
        for k, v in (
            ("false_match_rate", 0), ("false_match_rate", -1), ("similarity", NAN), ("similarity", "0.5"),
            ("similarity", True), ("true_match_rate", 7), ("false_match_rate", None),
        )
    },
    "name with an escape": top(name="\x1b]0;owned\x07\x1b[31mX"), "name of two lines": top(name="a\nb"),
    "name of a number": top(name=5), "another library": top(library="x"),
    **{f"repo_id {v!r}": top(repo_id=v) for v in ("../../etc", "a", "a/b/c", "a/b\n", "-/-", "a/..", "x" * 200 + "/y", 5)},
    **{f"revision {v!r}": top(revision=v) for v in ("main", "Z" * 40, 5)},
    "version of lists": top(version=["\x1b[2J"] * 3, evil=1), "a list": lambda record: [1], "an empty object": lambda r: {"a": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_cannot_be_true(files, tmp_path, name):
    refused(write(tmp_path, files, change=RECORDS[name]))


RIGHT = {
    "a version of lists": top(version=["x"] * 3),
    "nested figures": top(speed=[{"a": {"b": [1] * 1000}}]),
    "a card that speaks HTML": top(terms="<script>alert(1)</script>", training_data="`x` | [a](b)"),
    "no size": top(file_size=0),
    "camera pairs without figures": top(camera_pairs=[{"query camera": 1, "gallery camera": 2}]),
    "whole numbers where fractions may stand": net(mean=[0, 0, 0], std=[1, 1, 1], tau=1),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_record_that_is_odd_but_right(files, model, tmp_path, name):
    found = load(write(tmp_path, files, change=RIGHT[name]))
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), model.state_dict().values(), strict=True))


TEXTS = {
    "empty": lambda text: b"",
    "UTF-16 of another kind": lambda text: text.encode("utf-16")[3:],
    "not UTF-8": lambda text: text.encode().replace(b'"library"', b'"library\xff"'),
    "deep": lambda text: b"[" * 10**6,
    "deep inside": lambda text: text.encode()[:-1] + b',"metrics":' + b"[" * 10**5 + b"]" * 10**5 + b"}",
    "900 deep": lambda text: text.encode()[:-1] + b',"speed":[{"a":' + b"[" * 900 + b"]" * 900 + b"}]}",
    "a number of 5000 digits": lambda text: text.replace('"clip_length": 2', '"clip_length": ' + "9" * 5000).encode(),
    "a number of 4000 digits": lambda text: text.replace('"clip_length": 2', '"clip_length": ' + "9" * 4000).encode(),
    "a key twice": lambda text: text[:-1].encode() + b',"sha256":"' + b"0" * 64 + b'"}',
    "a list": lambda text: b"[]",
    "null": lambda text: b"null",
    "100 MB": lambda text: b'{"library":"stmga","a":"' + b"x" * 10**8 + b'"}',
    "100 MB of spaces": lambda text: b" " * 10**8 + text.encode(),
    "a million keys": lambda text: b"{" + b",".join(b'"%d":1' % i for i in range(10**6)) + b"}",
    "300000 keys": lambda text: b"{" + b",".join(b'"%d":1' % i for i in range(3 * 10**5)) + b"}",
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_config_that_is_no_record(files, tmp_path, name):
    refused(write(tmp_path, files, raw=TEXTS[name]))


# ---------------------------------------------------------------------------------------------- weights


def parts(data):
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def built(header, body):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def count(entry):
    return int(np.prod(entry["shape"], dtype=np.int64))


def repacked(data, convert):
    """The file with each tensor's type and bytes as ``convert(key, entry, bytes)`` gives them."""
    header, body = parts(data)
    found, packed = {"__metadata__": header.pop("__metadata__", {})}, b""
    for key in sorted(header, key=lambda key: header[key]["data_offsets"][0]):
        entry = header[key]
        kind, raw = convert(key, entry, body[slice(*entry["data_offsets"])])
        found[key] = {"dtype": kind, "shape": entry["shape"], "data_offsets": [len(packed), len(packed) + len(raw)]}
        packed += raw
    return built(found, packed)


def floats(change):
    """Every float32 tensor changed; ``change(key, entry, bytes)`` gives a type and bytes."""
    return lambda data: repacked(
        data, lambda k, e, raw: change(k, e, raw) if e["dtype"] == "F32" else (e["dtype"], raw)
    )


def retyped(kind, size):
    return floats(lambda key, entry, raw: (kind, bytes(int(count(entry) * size))))


def filled(value, ending=""):
    def change(key, entry, raw):
        return "F32", np.full(count(entry), value, "f4").tobytes() if key.endswith(ending) else raw

    return floats(change)


def edited(edit):
    def change(data):
        header, body = parts(data)
        header = copy.deepcopy(header)
        edit(header, [key for key in header if key != "__metadata__"], body)
        return built(header, body)

    return change


def of_counter(kind, raw):
    def convert(key, entry, old):
        return (kind, raw) if key.endswith("num_batches_tracked") else (entry["dtype"], old)

    return lambda data: repacked(data, convert)


def twice(data):
    header, body = parts(data)
    key = next(k for k in header if k != "__metadata__")
    return built((json.dumps(header)[:-1] + f', "{key}": {json.dumps(header[key])}}}').encode(), body)


BIG = "backbone.conv1.weight"
WEIGHTS = {
    "empty": lambda data: b"", "eight zeros": lambda data: b"\0" * 8,
    "a header of 2^64": lambda data: b"\xff" * 8 + data[8:],
    "a header of a gigabyte": lambda data: struct.pack("<Q", 10**9) + data[8:],
    "a header that is short": lambda data: struct.pack("<Q", 10) + data[8:],
    "a header that is long": lambda data: struct.pack("<Q", struct.unpack("<Q", data[:8])[0] + 8) + data[8:],
    "a deep header": lambda data: built(b"[" * 10**6, b""),
    "a million entries": lambda data: built(b'{"__metadata__":{' + b",".join(b'"%d":"x"' % i for i in range(10**6)) + b"}}", b""),
    "99 MB of header": lambda data: struct.pack("<Q", 99 * 10**6) + b"{" + b" " * (99 * 10**6 - 2) + b"}",
    "cut short": lambda data: data[:-100], "too long": lambda data: data + b"x" * 100,
    "two tensors in one place": edited(lambda h, k, b: h.__setitem__(k[1], h[k[0]])),
    "out of the file": edited(lambda h, k, b: h[k[0]].update(data_offsets=[0, 10**15])),
    "backwards": edited(lambda h, k, b: h[k[0]].update(data_offsets=[10, 0])),
    "negative": edited(lambda h, k, b: h[k[0]].update(data_offsets=[-8, 0])),
    "a shape of 2^80": edited(lambda h, k, b: h[BIG].update(shape=[2**40, 2**40])),
    "a shape with 0": edited(lambda h, k, b: h[BIG].update(shape=[0, *h[BIG]["shape"]])),
    **{f"one of {kind}": edited(lambda h, k, b, kind=kind: h[BIG].update(dtype=kind)) for kind in ("I32", "U32")},
    **{
        f"all of {kind}": retyped(kind, size)
        for kind, size in (
            ("F8_E4M3", 1), ("F8_E5M2", 1), ("I8", 1), ("U8", 1), ("BOOL", 1), ("F64", 8), ("BF16", 2), ("F16", 2),
            ("I64", 8), ("C64", 8), ("F8_E8M0", 1), ("U16", 2), ("F4", 0.5), ("F6_E2M3", 0.75), ("XX", 1),
        )
    },  # those of floats are all zeros
    "NaN": filled(np.nan), "infinity": filled(np.inf), "one NaN": filled(np.nan, BIG), "1e300": floats(
        lambda key, entry, raw: ("F64", np.full(count(entry), 1e300).tobytes())
    ),
    "negative variances": filled(-1, "running_var"), "zeros": filled(0), "a neck of zeros": filled(0, "neck.weight"),
    "a convolution of zeros": filled(0, "layer2.0.conv1.weight"),
    "a float counter": of_counter("F32", b"\0" * 4), "a small counter": of_counter("I32", b"\0" * 4), "a key twice": twice,
    "another key": edited(lambda h, k, b: h.update(extra={"dtype": "F32", "shape": [0], "data_offsets": [len(b)] * 2})),
    "a key that escapes": edited(
        lambda h, k, b: h.update({"\x1b[2Jevil\n": {"dtype": "F32", "shape": [0], "data_offsets": [len(b)] * 2}})
    ),
    "a long key": edited(lambda h, k, b: h.update({"k" * 10**5: {"dtype": "F32", "shape": [0], "data_offsets": [len(b)] * 2}})),
    "a key with module.": edited(lambda h, k, b: h.update({"module." + k[0]: h.pop(k[0])})),
    "a pickle": lambda data: pickle.dumps({"a": 1}), "HTML": lambda data: b"<html>404</html>",
    "a pickle of protocol 0": lambda data: b"cos\nsystem\n(S'touch pwned'\ntR.",
    "a pointer of git lfs": lambda data: b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 1\n",
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none(files, tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refused(write(tmp_path, files, WEIGHTS[name](files["model.safetensors"])), "model.safetensors")
    assert not (tmp_path / "pwned").exists()


def test_weights_of_other_float_types_are_loaded(files, model, tmp_path):
    def double(key, entry, raw):
        return "F64", np.frombuffer(raw, "f4").astype("f8").tobytes()

    found = load(write(tmp_path, files, repacked(files["model.safetensors"], floats_only(double))))
    assert all(torch.equal(a, b) for a, b in zip(found.state_dict().values(), model.state_dict().values(), strict=True))


def floats_only(convert):
    return lambda key, entry, raw: convert(key, entry, raw) if entry["dtype"] == "F32" else (entry["dtype"], raw)


def test_what_cannot_be_loaded_cannot_be_saved(tmp_path):
    from hub_fixtures import tiny

    broken = tiny()
    with torch.no_grad():
        broken.neck.weight[3] = NAN
    with pytest.raises(WeightsError, match=r"this model cannot be used: neck\.weight holds NaN"):
        broken.save_pretrained(tmp_path / "a")
    assert not (tmp_path / "a").exists()


# ---------------------------------------------------------------------------------------------- not regular files


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "huge"])
def test_what_is_no_regular_file(files, tmp_path, name, kind):
    write(tmp_path, files)
    path = tmp_path / name
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(200 * 2**30)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else name)
    refused(tmp_path, name)


def test_a_record_that_asks_for_a_huge_file(files, tmp_path):
    write(tmp_path, files, change=top(file_size=200 * 2**30))
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.truncate(200 * 2**30)
    refused(tmp_path, "bytes")


def test_a_link_to_weights_elsewhere_is_followed(files, model, tmp_path):
    """As in huggingface_hub's cache; what is there is verified all the same."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", files)
    (tmp_path / "in/model.safetensors").rename(tmp_path / "blob")
    (tmp_path / "in/model.safetensors").symlink_to(tmp_path / "blob")
    assert STMGA.from_pretrained(tmp_path / "in").digest() == model.digest()
