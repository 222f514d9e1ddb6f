"""Embeddings files from strangers: each is refused with a ValueError, or holds the right values."""

# ruff: noqa: E501 - tables of cases

import json
import math
import os
import struct
import time

import pytest
import torch
from safetensors.torch import save_file

from stmga import Embeddings, Gallery

VECTORS = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)))
ITEMS = [{"tracklet": f"t{i}", "person": i % 2, "camera": i} for i in range(4)]
METADATA = {"format": "stmga-embeddings", "format_version": "1", "digest": "d", "model": "m", "stmga": "0.1.0"}
THRESHOLD = {"false_match_rate": 1e-3, "similarity": 0.5, "true_match_rate": 0.9}
CALIBRATION = {
    "thresholds": [THRESHOLD],
    "lower": 0.4,
    "impostor_pairs": 10,
    "genuine_pairs": 10,
    "persons": 3,
    "digest": "d",
    "data": "d",
}
INT8 = (VECTORS * 127).round().to(torch.int8)
NAN, INF = float("nan"), float("inf")


def raw(data: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(data or b"\0"), dtype=torch.uint8)


def rows(items=ITEMS, skipped=()) -> torch.Tensor:
    return raw(json.dumps({"items": items, "skipped": list(skipped)}).encode())


def each(**changes) -> torch.Tensor:
    return rows([item | changes for item in ITEMS])


OTHER_TYPES = (
    torch.float64,
    torch.bfloat16,
    torch.int8,
    torch.int32,
    torch.int64,
    torch.bool,
    torch.complex64,
    torch.float8_e4m3fn,
)
TENSORS = {
    **{f"vectors of {dtype}": {"vectors": VECTORS.to(dtype)} for dtype in OTHER_TYPES},
    "one axis": {"vectors": VECTORS[0].clone()}, "three axes": {"vectors": VECTORS[None].clone()},
    "no axis": {"vectors": torch.tensor(1.0)}, "no columns": {"vectors": torch.zeros(4, 0)},
    "fewer vectors": {"vectors": VECTORS[:3].clone()}, "NaN": {"vectors": VECTORS * NAN}, "infinity": {"vectors": VECTORS * INF},
    "too large": {"vectors": VECTORS * 3e38}, "too small": {"vectors": VECTORS * 1e-42},
    "no vectors": {"vectors": None}, "no rows": {"rows": None},
    "int8 without scale": {"vectors": INT8}, "a scale too many": {"scale": torch.ones(4)},
    **{f"scale of {v}": {"vectors": INT8, "scale": torch.full((4,), v)} for v in (NAN, INF)},
    "short scale": {"vectors": INT8, "scale": torch.ones(2)}, "scale of one": {"vectors": INT8, "scale": torch.tensor(1.0)},
    "scale of float64": {"vectors": INT8, "scale": torch.ones(4, dtype=torch.float64)},
    "float rows": {"rows": torch.zeros(5)}, "rows of two axes": {"rows": rows()[None].clone()},
    **{f"rows {text[:20]!r}": {"rows": raw(text)} for text in (
        b"[]", b"5", b"null", b"\xff\xfe", b"", b"{}", b'{"items": []}', b"[" * 10**5, b'{"items": NaN, "skipped": []}',
        b'{"items": [{"tracklet": "a", "x": Infinity}], "skipped": []}',
        b'{"items": [{"tracklet": "a", "x": 1e999}], "skipped": []}',
        b'{"items": [{"tracklet": "a", "x": %s}], "skipped": []}' % (b"[" * 40 + b"]" * 40),
    )},
    **{f"items {str(items)[:20]}": {"rows": rows(items)} for items in (
        ["a"] * 4, [1] * 4, [None] * 4, [["tracklet"]] * 4, {"a": 1}, "abcd", None, [{}] * 4, [{"tracklet": "a"}] * 4, ITEMS[:2],
    )},
    **{f"id {v!r}": {"rows": each(tracklet=v)} for v in ([1], None, {"a": 1}, 1.5)},
    **{f"skipped {v!r}": {"rows": raw(json.dumps({"items": ITEMS, "skipped": v}).encode())} for v in ("abc", [1], None, [{}], {"a": 1})},
}  # fmt: skip
HEADERS = {
    **{f"version {v[:10]!r}": {"format_version": v} for v in ("x", "-5", "9" * 5000, "99", "", "1.5", "\x1b[2J")},
    "another format": {"format": "stmga-index"}, "no format": {"format": "\x1b[2J"},
    **{f"calibration {v[:24]}": {"calibration": v} for v in (
        "x", "[]", "5", "{}", "[" * 10**5, json.dumps(CALIBRATION | {"lower": "a"}), json.dumps(CALIBRATION | {"thresholds": []}),
        json.dumps(CALIBRATION | {"evil": 1}), json.dumps(CALIBRATION | {"\U000bbd47": 1}), json.dumps(CALIBRATION | {"roc": [[NAN] * 3]}),
        json.dumps(CALIBRATION | {"thresholds": [THRESHOLD | {"similarity": "x"}]}),
    )},
}  # fmt: skip
BYTES = {
    "empty": lambda data: b"", "short": lambda data: data[:20], "a long header": lambda data: b"\xff" * 8 + data[8:],
    "cut": lambda data: data[:-5], "a pickle": lambda data: b"\x80\x04K\x01.", "HTML": lambda data: b"<html>404</html>",
    "a deep header": lambda data: struct.pack("<Q", 10**6) + b"[" * 10**6,
}  # fmt: skip


def written(path, tensors=None, metadata=None):
    every = {"vectors": VECTORS, "rows": rows()} | (tensors or {})
    save_file({name: tensor for name, tensor in every.items() if tensor is not None}, path, METADATA | (metadata or {}))
    return path


def refused(path) -> None:
    for load in (Embeddings.load, Gallery.load):
        start = time.monotonic()
        with pytest.raises(ValueError) as caught:
            load(path)
        text = str(caught.value)
        assert time.monotonic() - start < 30
        assert text.startswith(str(path)) and text.isprintable()
        assert len(text) < 700 + 2 * len(str(path)) and "\x1b" not in text and "\n" not in text


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_not_embeddings(tmp_path, name):
    refused(written(tmp_path / "e.safetensors", TENSORS[name]))


@pytest.mark.parametrize("name", HEADERS)
def test_headers_that_are_not_embeddings(tmp_path, name):
    refused(written(tmp_path / "e.safetensors", metadata=HEADERS[name]))


@pytest.mark.parametrize("name", BYTES)
def test_bytes_that_are_not_embeddings(tmp_path, name):
    path = written(tmp_path / "e.safetensors")
    path.write_bytes(BYTES[name](path.read_bytes()))
    refused(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe")


@pytest.mark.parametrize(
    ("tensors", "metadata"),
    [
        ({}, {}),
        ({"vectors": VECTORS.half()}, {"format_version": "2"}),
        ({"vectors": INT8, "scale": torch.ones(4) / 127}, {"format_version": "2"}),
        ({"vectors": VECTORS * 1e15}, {}),
        ({"vectors": VECTORS * 0}, {}),  # similarity 0 with everything
        ({"rows": each(note="x" * 10**5, deep=[[[[1]]]])}, {"calibration": json.dumps(CALIBRATION)}),
        ({"rows": rows([item | {"person": 10**400} for item in ITEMS])}, {"model": "\x1b[2J"}),
    ],
)
def test_what_is_odd_but_right_is_searched(tmp_path, tensors, metadata):
    path = written(tmp_path / "e.safetensors", tensors, metadata)
    found = Embeddings.load(path)
    for matches in Gallery.load(path).search(found, 3):
        assert len(matches) == 3 and all(math.isfinite(match.similarity) for match in matches)
    assert Embeddings.load(found.save(tmp_path / "again.safetensors")).ids == found.ids


@pytest.mark.parametrize("value", [NAN, INF, [[NAN]], {"a": -INF}, json.loads("[" * 40 + "]" * 40)], ids=range(5))
def test_items_that_could_not_be_read_again_are_not_written(tmp_path, value):
    embeddings = Embeddings(VECTORS, [item | {"note": value} for item in ITEMS], "d" * 64)
    with pytest.raises(ValueError, match="items cannot be kept as JSON"):
        embeddings.save(tmp_path / "e.safetensors")
    assert not list(tmp_path.iterdir())
