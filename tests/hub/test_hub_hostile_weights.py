"""Weights from strangers: damaged, of other types, not finite; each is refused with WeightsError, or is right."""

# ruff: noqa: E501 - tables of cases

from __future__ import annotations

import copy
import json
import pickle
import struct

import numpy as np
import pytest
import torch

from stmga.hub.records import WeightsError
from tests.support.hostile_weights import NAN, load, refused, write


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
    from tests.support.hub import tiny

    broken = tiny()
    with torch.no_grad():
        broken.neck.weight[3] = NAN
    with pytest.raises(WeightsError, match=r"this model cannot be used: neck\.weight holds NaN"):
        broken.save_pretrained(tmp_path / "a")
    assert not (tmp_path / "a").exists()
