"""int8 files: close to float32, smaller, with a digest of their own; and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stmga import STMGA, TrackletEmbedder
from stmga.cli.main import main
from stmga.deploy.exported import ExportedModel
from stmga.tracklets import Tracklet
from tests.support.crops import CONFIG, crops
from tests.support.exported import untrained

pytest.importorskip("onnxruntime.quantization", reason="int8 needs onnxruntime and onnx")
onnx = pytest.importorskip("onnx")

from stmga.deploy import export_int8  # noqa: E402
from stmga.deploy.quantization import Graph  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def model() -> STMGA:
    return untrained(CONFIG)


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    return export_int8(model, tmp_path_factory.mktemp("int8") / "small.onnx", crops())


@pytest.mark.slow  # an export, two calibrations and seven quantised graphs
def test_it_is_close_and_small_and_computes_in_int8(done):
    assert done.size <= 0.4 * done.float_size
    assert set(done.cosines) == set(ExportedModel.runtimes(done.path))
    assert all(float(cosine.mean()) > 0.99 for cosine in done.cosines.values())
    assert {t.person for t in done.held_out} and len(done.held_out) == len(done.exact) == len(done.found)
    graph = onnx.load(done.path).graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    made = {name: node for node in graph.node for name in node.output}
    convolutions = [node for node in graph.node if node.op_type == "Conv" and "backbone" in str(node.input)]
    assert len(convolutions) == 15
    for node in convolutions:
        data, weight = (made[name] for name in node.input[:2])
        assert data.op_type == weight.op_type == "DequantizeLinear"
        assert weights[weight.input[0]].data_type == onnx.TensorProto.INT8
        assert weights[weight.input[1]].dims == weights[weight.input[0]].dims[:1], "one scale per output channel"


@pytest.mark.slow
def test_its_vectors_are_not_mixed_with_those_of_the_network(done, model):
    exported = ExportedModel(done.path)
    assert exported.digest() != model.digest() and len(exported.digest()) == 64
    assert exported.config == model.config
    tracklets = crops(3)
    exact, found = TrackletEmbedder(model)(tracklets), TrackletEmbedder(exported)(tracklets)
    assert (exact.vectors * found.vectors).sum(1).min() > 0.98
    with pytest.raises(ValueError, match="weights"):
        exact.require_same_weights(found)
    about = json.loads(next(e.value for e in onnx.load(done.path).metadata_props if e.key == "stmga"))
    assert about["int8"]["of"] == model.digest() and about["int8"]["cosine"] > 0.99


@pytest.mark.slow
def test_the_record_keeps_no_thresholds(tmp_path, capsys, monkeypatch):
    """Figures and calibration were measured in float32."""
    monkeypatch.setattr("stmga.cli.export.WALKERS", 6)
    name = "stmga_resnet18_c4_baseline.market_cuhk03"
    assert main(["export", "--int8", "--model", name, "-o", str(tmp_path / "a.onnx")]) == 0
    out = capsys.readouterr().out
    assert "RENDERED WALKERS" in out and "mAP" in out and "of float32" in out
    record = ExportedModel(tmp_path / "a.onnx").record
    assert record.name == f"{name}-int8" and record.terms
    assert record.calibration is None and not (record.metrics or record.frames or record.speed)


@pytest.mark.parametrize(
    ("tracklets", "match"),
    [
        (crops(3, 4), "at least 32 frames.* got 24"),
        ([Tracklet("long", np.zeros((400, 64, 32, 3), np.uint8))], "at least 32 frames.* got 8"),
        (crops(1, 64), "at least 32 frames.* got 16"),
        ([Tracklet(str(n), np.zeros((8, 64, 32, 3), np.uint8), person=7) for n in range(9)], "two persons"),
    ],
)
def test_too_few_crops(model, tmp_path, tracklets, match):
    with pytest.raises(ValueError, match=match):
        export_int8(model, tmp_path / "a.onnx", tracklets)
    assert not list(tmp_path.iterdir())


def test_other_files_than_onnx(model, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        export_int8(model, tmp_path / "a.pt2", crops())


def graph_of(operator: str, **attributes):
    """A trunk of one operator with weights."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = onnx.numpy_helper.from_array(np.ones((4, 4, 3, 3), np.float32), "w")
    node = helper.make_node(operator, ["clips", "w"], ["y"], "only", **attributes)
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'model.backbone', 'up']")
    values = [helper.make_tensor_value_info(name, kind, [1, 4, "h", "w"]) for name in ("clips", "y")]
    return helper.make_model(helper.make_graph([node], "g", values[:1], values[1:], [weight]))


def test_a_trunk_of_another_operator_is_refused_by_name():
    with pytest.raises(ValueError, match=r"has its weights in ConvTranspose; export this network without --int8"):
        Graph(graph_of("ConvTranspose"))
    assert Graph(graph_of("Conv")).nodes(["backbone"]) == ["only"]


def test_weights_that_stay_in_floating_point_are_stored_in_half_precision():
    """Also a runtime without optimisations computes with them."""
    from stmga.deploy.quantization import _store_in_half

    model = graph_of("Conv")
    wide = np.random.default_rng(0).normal(size=(16, 4, 9, 9)).astype(np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(wide, "w"))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    before = len(model.SerializeToString())
    _store_in_half(model)
    assert len(model.SerializeToString()) < 0.55 * before
    assert [node.op_type for node in model.graph.node] == ["Cast", "Conv"]
    onnx.checker.check_model(model)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (["--calibrate", "."], "--calibrate belongs to --int8"),
        (["--int8", "--single-crop"], "give one of them"),
        (["--batch", "4"], "--batch belongs to --single-crop"),
        (["--single-crop", "--frames", "64", "32"], "its own input and opset"),
        (["--int8", "--calibrate", "missing"], "missing does not exist"),
    ],
)
def test_options_that_contradict_each_other(options, match, tmp_path, capsys):
    assert main(["export", "-o", str(tmp_path / "a.onnx"), *options]) != 0
    assert match in capsys.readouterr().err
    assert not list(Path(tmp_path).iterdir())
