"""Other people's ONNX files: run frame by frame, their cost, and what is refused."""

import logging

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stmga import STMGA, TrackletEmbedder, export
from stmga.deploy.onnx_cost import graph_gmac, graph_parameters
from stmga.embedding import FrameEncoder
from stmga.embedding.cost import cost_of
from tests.support.embedder import tracklets
from tests.support.exported import CONFIG
from tests.support.onnx_files import write_image_net

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def module_of(file) -> torch.nn.Module:
    weight = torch.from_numpy(onnx.numpy_helper.to_array(onnx.load(file).graph.initializer[0]).astype(np.float32))
    conv = torch.nn.Conv2d(3, 5, 3, stride=2, bias=False)
    conv.weight.data = weight
    return conv


@pytest.mark.parametrize("batch", ["n", 1, 3, 8, 40])
@pytest.mark.parametrize("pooled", [True, False])
def test_a_file_gives_what_the_module_gives(tmp_path, batch, pooled):
    """A batch of any number, of one, and of numbers that do not divide the frames or exceed them."""
    file = write_image_net(tmp_path / "net.onnx", (batch, 3, 32, 16), pooled=pooled)
    network = FrameEncoder(file, clip_length=4)
    assert (network.transform.size, network.dim) == ((32, 16), 5)
    assert network.file.batch == (None if batch == "n" else batch)
    found, wanted = (
        TrackletEmbedder(n)(tracklets(3, 9)) for n in (network, FrameEncoder(module_of(file), size=(32, 16)))
    )
    again = TrackletEmbedder(FrameEncoder(module_of(file), size=(32, 16), clip_length=4))(tracklets(3, 9))
    torch.testing.assert_close(found.vectors, again.vectors, atol=1e-5, rtol=0)
    assert found.digest != wanted.digest


def test_half_precision_and_free_sizes(tmp_path):
    file = write_image_net(tmp_path / "half.onnx", ("n", 3, "h", "w"), kind="FLOAT16")
    network = FrameEncoder(file, size=(24, 12))
    frames = torch.rand(4, 3, 24, 12)
    wanted = F.conv2d(frames, module_of(file).weight, stride=2).mean((2, 3))
    torch.testing.assert_close(network.for_inference().encode_frames(frames), wanted, atol=1e-2, rtol=1e-2)
    with pytest.raises(ValueError, match=r"give the size of the frames"):
        FrameEncoder(file)


def test_the_cost_of_a_file_is_that_of_its_module(tmp_path):
    for batch, times in (("n", 1), (3, 9 / 8), (1, 1)):
        file = write_image_net(tmp_path / "net.onnx", (batch, 3, 32, 16))
        here, there = cost_of(FrameEncoder(file)), cost_of(FrameEncoder(module_of(file), size=(32, 16)))
        assert here.parameters == there.parameters == 135
        assert here.gmac == pytest.approx(there.gmac * times) == pytest.approx(8 * 15 * 7 * 135 / 1e9 * times)
        assert here.mb == file.stat().st_size / 1e6


def test_matrix_products_and_branches_are_counted(caplog):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    value = lambda name, shape: helper.make_tensor_value_info(name, kind, shape)  # noqa: E731
    weights = [onnx.numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in (("w", (7, 5)), ("v", (5, 4)))]
    side = lambda op, name: helper.make_graph([helper.make_node(op, ["y"], [name])], name, [], [value(name, None)])  # noqa: E731
    heavy = helper.make_graph([helper.make_node("MatMul", ["y", "v"], ["b"])], "b", [], [value("b", None)])
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["y"]),
        helper.make_node("Einsum", ["x", "w"], ["e"], equation="ik, kj -> ij"),
        helper.make_node("If", ["yes"], ["z"], then_branch=side("Relu", "a"), else_branch=heavy),
    ]
    yes = onnx.numpy_helper.from_array(np.array(True), "yes")
    graph = helper.make_graph(nodes, "g", [value("x", ["n", 7])], [value("z", None)], [*weights, yes])
    model = helper.make_model(graph)
    assert round(graph_gmac(model, {"x": (3, 7)}) * 1e9) == 2 * 3 * 7 * 5 + 3 * 5 * 4
    assert graph_parameters(model) == 7 * 5 + 5 * 4
    graph = helper.make_graph([helper.make_node("LSTM", ["x"], ["z"])], "g", [value("x", [1, 1, 7])], [])
    with caplog.at_level(logging.WARNING):
        assert graph_gmac(helper.make_model(graph), {"x": (1, 1, 7)}) is None
    assert "are not known: it has the operator LSTM" in caplog.text


def test_an_exported_network_costs_what_it_was_made_from(tmp_path):
    model = STMGA(CONFIG).eval()
    export(model, tmp_path / "own.pt2")
    from stmga.deploy import ExportedModel

    found, wanted = cost_of(ExportedModel(tmp_path / "own.pt2")), cost_of(model)
    assert (found.parameters, found.gmac) == (wanted.parameters, wanted.gmac)
    assert found.mb == (tmp_path / "own.pt2").stat().st_size / 1e6


def loop(onnx, model):
    model.graph.node.append(
        onnx.helper.make_node("Loop", ["", ""], ["y"], body=onnx.helper.make_graph([], "b", [], []))
    )


def external_in_a_branch(onnx, model):
    tensor = onnx.helper.make_tensor("t", 1, [1], [1.0])
    tensor.ClearField("float_data")
    tensor.external_data.add(key="location", value="/etc/passwd")
    body = onnx.helper.make_graph([onnx.helper.make_node("Constant", [], ["c"], value=tensor)], "b", [], [])
    model.graph.node.append(onnx.helper.make_node("If", ["x"], ["y"], then_branch=body, else_branch=body))


def fused(onnx, model):
    model.graph.node[0].domain = "com.microsoft"


def two_inputs(onnx, model):
    model.graph.input.append(onnx.helper.make_tensor_value_info("mask", 1, ["n", 7]))


def two_outputs(onnx, model):
    model.graph.output.append(onnx.helper.make_tensor_value_info("map", 1, ["n", 5, 15, 7]))


def ours(onnx, model):
    model.metadata_props.add(key="stmga", value="{}")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"shape": ("n", 32, 16, 3)}, r"channels last: expected \(n, 3, h, w\), got 'images': float \(n, 32, 16, 3\)"),
        ({"shape": ("n", 1, 32, 16)}, r"no RGB image: expected \(n, 3, h, w\), got 'images': float \(n, 1, 32, 16\)"),
        ({"shape": ("n", 8, 3, 32, 16)}, r"is not an image: expected float \(n, 3, h, w\), got .* \(n, 8, 3, 32, 16\)"),
        ({"kind": "UINT8"}, "must be float or float16, got 'images': uint8"),
        ({"change": loop}, "its Loop holds a graph of its own"),
        ({"change": external_in_a_branch}, r"stored in another file \(/etc/passwd\)"),
        ({"change": fused}, "com.microsoft.Conv, not one of ONNX"),
        ({"change": two_inputs}, "expected one input, images .*, got 2: 'images': .*, 'mask': float"),
        ({"change": two_outputs}, r"choose one of its outputs by output=NAME; it has 'features': .*'map': float"),
        ({"change": ours}, r"`stmga export` wrote it; use stmga.deploy.ExportedModel"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, options, match):
    with pytest.raises(ValueError, match=match):
        FrameEncoder(write_image_net(tmp_path / "net.onnx", **options), size=(32, 16))


def test_wrong_sizes_files_and_outputs_are_refused(tmp_path):
    file = write_image_net(tmp_path / "net.onnx")
    with pytest.raises(ValueError, match=r"takes images of 32 x 16 \(height x width\), got size=\(64, 32\)"):
        FrameEncoder(file, size=(64, 32))
    with pytest.raises(ValueError, match="it has no output 'logits'"):
        FrameEncoder(file, output="logits")
    with pytest.raises(FileNotFoundError, match="no ONNX file"):
        FrameEncoder(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"\xff" * 99)
    with pytest.raises(ValueError, match="it is no ONNX file"):
        FrameEncoder(tmp_path / "bad.onnx")
    two = write_image_net(tmp_path / "two.onnx", change=two_outputs)
    assert FrameEncoder(two, output="map").dim == FrameEncoder(two, output="features").dim == 5
    network = FrameEncoder(file)
    with pytest.raises(ValueError, match="an ONNX file computes as it was written"):
        TrackletEmbedder(network, precision="bf16")
    with pytest.raises(ValueError, match="computes on the cpu, not on cuda"):
        TrackletEmbedder(network, device="cuda")
