"""int8 files for OpenVINO: close to float32, smaller, two files or none; and what is refused."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
import torch

from stmga import STMGA, TrackletEmbedder
from stmga.cli.main import main
from stmga.deploy import ExportedModel, export, export_int8
from tests.support.crops import CONFIG, crops
from tests.support.exported import untrained

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def model() -> STMGA:
    return untrained(CONFIG)


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    for name in ("nncf", "openvino", "onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="an int8 .xml needs the extra int8")
    return export_int8(model, tmp_path_factory.mktemp("int8") / "small.xml", crops())


@pytest.mark.slow  # an export and six calibrations
def test_it_is_close_and_small_and_computes_in_int8(done):
    files = [done.path, done.path.with_suffix(".bin")]
    assert sorted(done.path.parent.iterdir()) == sorted(files)
    assert done.size == sum(file.stat().st_size for file in files) <= 0.4 * done.float_size
    assert list(done.cosines) == ["openvino"] and float(done.cosines["openvino"].mean()) > 0.99
    xml = done.path.read_text("utf-8")
    weights = re.findall(r'element_type="i8" shape="\d+, \d+, \d, \d"', xml)
    assert len(weights) >= 15, "the convolutions of the trunk"
    assert xml.count('type="FakeQuantize"') >= 15
    assert not re.search(r'element_type="f32" shape="\d{2,}, \d{2,}"', xml), "other weights are in half precision"


@pytest.mark.slow
def test_its_header_is_its_own(done, model):
    exported = ExportedModel(done.path)
    assert exported.digest() == hashlib.sha256(done.path.with_suffix(".bin").read_bytes()).hexdigest()
    assert exported.digest() != model.digest() and exported.config == model.config
    values = re.findall(r'<stmga value="([^"]*)"', done.path.read_text("utf-8"))
    assert len(values) == 1, "the header of the float32 file is not kept"
    about = json.loads(values[0].replace("&quot;", '"'))["int8"]
    assert about["of"] == model.digest() and about["cosine"] > 0.99 and about["float_heads"] == list(done.float_heads)


@pytest.mark.slow
def test_it_runs_in_the_embedder_in_halves(done, model):
    exported, tracklets = ExportedModel(done.path), crops(3)
    assert exported.encode_frames(torch.rand(3, 3, 64, 32)).shape == model.encode_frames(torch.rand(3, 3, 64, 32)).shape
    exact, found = TrackletEmbedder(model)(tracklets), TrackletEmbedder(exported)(tracklets)
    assert (exact.vectors * found.vectors).sum(1).min() > 0.98
    with pytest.raises(ValueError, match="weights"):
        exact.require_same_weights(found)


@pytest.mark.slow
def test_a_file_that_loses_too_much_is_not_written(done, model, tmp_path, monkeypatch):
    monkeypatch.setattr("stmga.deploy.int8.LEAST_COSINE", 1.1)
    monkeypatch.setattr("stmga.deploy.quantization.Graph.heads", [])  # one calibration is enough here
    (tmp_path / "a.bin").write_bytes(b"old")
    with pytest.raises(RuntimeError, match=r"a\.xml was not written: in openvino the mean cosine"):
        export_int8(model, tmp_path / "a.xml", crops())
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]


def test_a_head_that_stays_in_floating_point(monkeypatch):
    """Its operators are those that nncf is to ignore; of a head in int8, only those with weights are quantised."""
    pytest.importorskip("openvino")
    onnx = pytest.importorskip("onnx")
    from stmga.deploy.openvino_int8 import OpenvinoQuantizer

    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = []
    for name, operator, module, given in (
        ("c", "Conv", "backbone", ["clips", "w"]),
        ("r", "Relu", "backbone", ["c"]),
        ("m", "Conv", "s_mga", ["r", "w"]),
        ("s", "Sigmoid", "s_mga", ["m"]),
    ):
        node = helper.make_node(operator, given, [name], name)
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=f"['', 'model.{module}']")
        nodes.append(node)
    weight = helper.make_tensor("w", kind, [4, 4, 3, 3], [1.0] * 144)
    values = [helper.make_tensor_value_info(name, kind, [1, 4, None, None]) for name in ("clips", "s")]
    graph = helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:], [weight]), ir_version=10)
    monkeypatch.setattr(onnx, "load", lambda path: graph)
    quantizer = OpenvinoQuantizer("unused", [])
    model = pytest.importorskip("openvino").Core().read_model(quantizer._data)
    assert {"m", "s"} <= set(quantizer._ignored(model, ["backbone"]))
    assert not {"c", "r"} & set(quantizer._ignored(model, ["backbone"]))
    ignored = quantizer._ignored(model, ["backbone", "s_mga"])
    assert "s" in ignored and "m" not in ignored


def test_missing_packages(model, tmp_path, monkeypatch):
    monkeypatch.setattr("stmga.deploy.int8.find_spec", lambda name: None if name == "nncf" else name)
    with pytest.raises(ImportError, match=r"int8 needs nncf: pip install 'stmga\[int8\]'"):
        export_int8(model, tmp_path / "a.xml", crops())


def test_float32_is_not_written_as_xml(model, tmp_path, capsys):
    with pytest.raises(ValueError, match=r"written in int8 only.*float32 \.onnx"):
        export(model, tmp_path / "a.xml")
    assert main(["export", "-o", str(tmp_path / "a.xml")]) != 0
    assert "add --int8" in capsys.readouterr().err
    (tmp_path / "a.bin").mkdir()
    assert main(["export", "-o", str(tmp_path / "a.xml"), "--int8"]) != 0
    assert "a.bin is a folder" in capsys.readouterr().err


def test_openvino_is_imported_without_telemetry(monkeypatch):
    """The variables that turn it off are set during the import alone."""
    import os

    from stmga.deploy import openvino_file

    seen = []
    monkeypatch.setattr(openvino_file.importlib, "import_module", lambda name: seen.append(os.environ["NNCF_CI"]))
    monkeypatch.setenv("CI", "mine")
    monkeypatch.delenv("NNCF_CI", raising=False)
    openvino_file.without_telemetry("nncf")
    assert seen == ["1"] and os.environ["CI"] == "mine" and "NNCF_CI" not in os.environ
