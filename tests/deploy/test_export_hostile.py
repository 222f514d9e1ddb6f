"""A .pt2 file from a stranger runs nothing, and is refused where it is not what an export writes."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from stmga.cli.main import main
from stmga.deploy.exported import ExportedModel
from tests.support.exported import CONSTANTS, HEADER, INPUTS, PROGRAM, WEIGHTS, refused


class Bomb:
    """Unpickled, it makes a folder ``pwned`` here."""

    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def bomb() -> bytes:
    data = io.BytesIO()
    torch.save((Bomb(),), data)
    return data.getvalue()


def packed(path: Path, members, *, kind=zipfile.ZIP_STORED, also=()) -> Path:
    with zipfile.ZipFile(path, "w", kind) as archive:
        for name, data in [*members.items(), *also]:
            archive.writestr(zipfile.ZipInfo(f"archive/{name}"), data, compress_type=kind)
    return path


def changed(data: bytes, change) -> bytes:
    value = json.loads(data)
    return json.dumps(change(value) or value).encode()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_good_file_is_the_network_without_running_its_program(model, members):
    clips = torch.rand(2, 3, 3, 32, 16)
    for trust in (False, True):
        found = ExportedModel(packed(Path("good.pt2"), members), trust=trust)
        assert torch.allclose(found(clips), model(clips), atol=1e-5)
        assert found.digest() == model.digest()


def test_random_numbers_of_the_caller_stay(members):
    packed(Path("good.pt2"), members)
    before = torch.get_rng_state()
    ExportedModel("good.pt2")
    assert torch.equal(before, torch.get_rng_state())


def test_a_pickle_among_the_sample_inputs(members):
    path = packed(Path("evil.pt2"), members | {INPUTS: bomb()})
    refused(path, "pickle of more than tensors, which could run code")
    for name, data in (("a raw pickle", pickle.dumps(Bomb())), ("nothing", b""), ("a dead zip", b"PK\x03\x04")):
        refused(packed(Path(f"{name}.pt2"), members | {INPUTS: data}), "could run code")
    assert main(["embed", "nowhere", "--model", "evil.pt2", "-o", "x.safetensors"]) == 1
    assert not Path("pwned").exists()
    with suppress(ValueError):
        ExportedModel(path, trust=True)
    assert Path("pwned").exists()  # the attack is real: this is what the check is for


@pytest.mark.parametrize(
    "name",
    [
        "data/aotinductor/model/a.so", "data/aotinductor/model/a.cpp", "data/constants/custom_obj_0",
        "data/constants/opaque_obj_0", "data/weights/model.pt", "data/constants/model.pt", "models/other.json",
        "models/model.json/x", "extra/other", "data/executorch/a.pte", "\x1b[2J", "../../evil.py",
    ],
)  # fmt: skip
def test_members_that_no_export_writes(members, name):
    refused(packed(Path("evil.pt2"), members, also=[(name, bomb())]), "it holds .*`stmga export` never writes it")


def test_pickles_that_the_lists_of_tensors_name(members):
    def pickled(value):
        next(iter(value["config"].values()))["use_pickle"] = True

    def constant(value):
        value["config"]["c"] = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}

    first = members | {WEIGHTS: changed(members[WEIGHTS], pickled), "data/weights/weight_0": bomb()}
    refused(packed(Path("a.pt2"), first), "it is a pickle")
    refused(packed(Path("b.pt2"), members | {CONSTANTS: changed(members[CONSTANTS], constant)}), "holds constants")


@pytest.mark.parametrize("what", ["guards", "expression", "function", "keyword", "tree", "nonsense"])
def test_a_program_that_runs_code_is_not_run(model, members, what):
    """Guards are executed, expressions evaluated, functions called by name: the network is built from its parts."""
    code = "__import__('os').mkdir('pwned')"

    def edit(value):
        node = value["graph_module"]["graph"]["nodes"][0]
        if what == "guards":
            value["guards_code"] = [code]
        elif what == "expression":
            text = json.dumps(value)
            return json.loads(text.replace('"expr_str": "Symbol(\'s', f'"expr_str": "{code} or Symbol(\'s'))
        elif what == "function":
            node["target"] = "torch.os.mkdir"
            node["inputs"] = [{"name": "path", "arg": {"as_string": "pwned"}, "kind": 1}]
        elif what == "keyword":
            node["inputs"][0] |= {"name": f"self={code}, x", "kind": 2}
        elif what == "tree":
            call = value["graph_module"]["module_call_graph"][0]["signature"]
            call["in_spec"] = '[1, {"type": "evil.Module", "context": "null", "children_spec": []}]'
        else:
            return {"graph_module": 5}
        return value

    path = packed(Path("evil.pt2"), members | {PROGRAM: changed(members[PROGRAM], edit)})
    clips = torch.rand(1, 2, 3, 32, 16)
    assert torch.allclose(ExportedModel(path)(clips), model(clips), atol=1e-5)
    assert not Path("pwned").exists()
    if what == "guards":
        with suppress(Exception):  # what the code gives is no guard
            ExportedModel(path, trust=True)
        assert Path("pwned").exists()  # the attack is real


def test_the_header_comes_first(members):
    """A foreign file is refused before anything else in it is read."""
    without = {name: data for name, data in members.items() if name != HEADER} | {INPUTS: bomb()}
    refused(packed(Path("evil.pt2"), without), "it does not say what it is")


HEADERS = {
    "nothing": lambda text: b"", "no JSON": lambda text: b"{", "deep": lambda text: b"[" * 10**6,
    "a list": lambda text: b"[]", "another format": lambda text: text.replace(b"stmga-export", b"x"),
    "not UTF-8": lambda text: b"\xff\xfe" + text,
    **{
        f"{key} {str(value)[:30]!r}": lambda text, key=key, value=value: changed(text, lambda v: v.update({key: value}))
        for key, value in (
            ("format_version", "1"), ("format_version", 10**30), ("format_version", None), ("format_version", True),
            ("frames", [10**9, 10**9]), ("frames", [0, 5]), ("frames", [True, True]),
            ("frames", "ab"), ("frames", 5), ("digest", 5), ("digest", "\x1b"), ("record", "x"), ("record", {}),
            ("config", None), ("config", {"size": [10**9, 10**9]}), ("config", {"part_scales": [1] * 10**5}),
        )
    },
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_none(members, name):
    path = packed(Path("evil.pt2"), members | {HEADER: HEADERS[name](members[HEADER])})
    refused(path, "is not an exported file|comes from the newer")


def test_an_archive_that_is_none(members):
    refused(packed(Path("a.pt2"), members, kind=zipfile.ZIP_DEFLATED), "compressed")
    refused(packed(Path("b.pt2"), members, also=[(HEADER, b"{}")]), "stands twice")
    big = members | {PROGRAM: b"0" * 10**6}
    refused(packed(Path("c.pt2"), big, kind=zipfile.ZIP_LZMA), "compressed")
    whole = Path("c.pt2").read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 5):
        Path("d.pt2").write_bytes(whole[:cut])
        refused(Path("d.pt2"), "damaged or foreign")


def test_parameters_that_do_not_fit(members):
    def edit(change):
        def apply(value):
            change(value["config"], value["config"]["model.neck.weight"])

        return members | {WEIGHTS: changed(members[WEIGHTS], apply)}

    number = {"as_int": 10**15}
    for i, change in enumerate(
        (
            lambda every, one: every.pop("model.neck.weight"),
            lambda every, one: every.update(extra=one),
            lambda every, one: one.update(path_name="../x"),
            lambda every, one: one.update(path_name=5),
            lambda every, one: one["tensor_meta"].update(sizes=[number]),
            lambda every, one: one["tensor_meta"].update(strides=[number]),
            lambda every, one: one["tensor_meta"].update(strides=[{"as_int": -1}]),
            lambda every, one: one["tensor_meta"].update(storage_offset=number),
            lambda every, one: one["tensor_meta"].update(dtype=5),
            lambda every, one: one["tensor_meta"].update(dtype="x"),
            lambda every, one: one.update(tensor_meta=None),
            lambda every, one: every.update({"model.neck.weight": None}),
        )
    ):
        refused(packed(Path(f"{i}.pt2"), edit(change)), "damaged or foreign")
    nan = members | {f"data/weights/weight_{i}": b"\xff" * len(members[f"data/weights/weight_{i}"]) for i in range(2)}
    refused(packed(Path("nan.pt2"), nan), "NaN or infinite")
    short = members | {"data/weights/weight_0": b"\0" * 8}
    refused(packed(Path("short.pt2"), short), "damaged or foreign")


@pytest.mark.parametrize("suffix", [".pt2", ".onnx"])
def test_what_is_no_regular_file(suffix):
    pipe, device = Path(f"pipe{suffix}"), Path(f"device{suffix}")
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device):
        refused(path, "not a regular file")
