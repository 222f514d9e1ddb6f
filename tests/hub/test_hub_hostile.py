"""Weights folders from strangers: each is refused with WeightsError, at once and in little memory, or is right."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import pytest
import torch

from stmga import STMGA
from tests.support.files import irregular
from tests.support.hostile_weights import INF, NAN, load, refused, write

THRESHOLD = {"false_match_rate": 1e-3, "similarity": 0.5, "true_match_rate": 0.9}


CALIBRATION = {
    "thresholds": [THRESHOLD], "lower": 0.4, "impostor_pairs": 10, "genuine_pairs": 10, "persons": 3, "digest": "x",
    "data": "d",
}  # fmt: skip


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


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "device", "loop", "folder", "huge"])
def test_what_is_no_regular_file(files, tmp_path, name, kind):
    write(tmp_path, files)
    irregular(tmp_path / name, kind)
    refused(tmp_path, name)


def test_a_record_that_asks_for_a_huge_file(files, tmp_path):
    write(tmp_path, files, change=top(file_size=200 * 2**30))
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.truncate(200 * 2**30)
    refused(tmp_path, "bytes")


def test_a_link_to_weights_elsewhere_is_followed(files, model, tmp_path):
    """As in huggingface_hub's cache; the target is verified nevertheless."""
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", files)
    (tmp_path / "in/model.safetensors").rename(tmp_path / "blob")
    (tmp_path / "in/model.safetensors").symlink_to(tmp_path / "blob")
    assert STMGA.from_pretrained(tmp_path / "in").digest() == model.digest()
