"""An .onnx file from a stranger reaches no other file and runs no operator but those of ONNX."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.exported import HEADER, refused


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)


def onnx_file(path: Path, members, change) -> Path:
    """A tiny ONNX graph with the header of a good file, edited."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weight = helper.make_tensor("w", kind, [1], [1.0])
    nodes = [helper.make_node("Mul", ["clips", "w"], ["x"]), helper.make_node("Identity", ["x"], ["embedding"])]
    values = [helper.make_tensor_value_info(name, kind, None) for name in ("clips", "embedding")]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [weight])
    model = helper.make_model(graph)
    model.metadata_props.add(key="stmga", value=members[HEADER].decode())
    change(onnx, model)
    path.write_bytes(model.SerializeToString())
    return path


def external(onnx, model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def external_in_a_node(onnx, model):
    node = onnx.helper.make_node("Constant", [], ["c"], value=onnx.helper.make_tensor("t", 1, [1], [1.0]))
    external_tensor = node.attribute[0].t
    external_tensor.ClearField("float_data")
    external_tensor.external_data.add(key="location", value="secret")
    model.graph.node.append(node)


def loop(onnx, model):
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["", ""], ["y"], body=body))


def foreign_operator(onnx, model):
    model.graph.node.append(onnx.helper.make_node("PyOp", ["x"], ["y"], domain="com.evil"))


def function(onnx, model):
    model.functions.add(name="f", domain="x")


def no_header(onnx, model):
    del model.metadata_props[:]
    external(onnx, model)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (external, r"stored in another file \(\.\./\.\./\.\./\.\./etc/passwd\)"),
        (external_in_a_node, "stored in another file"),
        (loop, "a graph of its own"),
        (foreign_operator, "com.evil.PyOp, not one of ONNX"),
        (function, "holds functions"),
        (no_header, "it does not say what it is"),
    ],
)
def test_an_onnx_file_that_reaches_further(members, change, match):
    for runtime in ("onnxruntime", "openvino"):
        refused(onnx_file(Path("evil.onnx"), members, change), match, runtime=runtime)
