"""Two ONNX graphs joined to one, and the halves of a graph, also of one that a tool has changed."""

import numpy as np
import pytest

from stmga.deploy.onnx_halves import INPUT, OUTPUTS, SEAM, halves, joined

onnx = pytest.importorskip("onnx")


def model(name: str, nodes, inputs, outputs, weight: float):
    """A graph of one weight, whose names the other half uses too."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    values = [[helper.make_tensor_value_info(x, kind, ["b", "t"]) for x in names] for names in (inputs, outputs)]
    graph = helper.make_graph(nodes, name, *values, [helper.make_tensor("w", kind, [1], [weight])])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])


def whole():
    node = onnx.helper.make_node
    first = model("a", [node("Add", [INPUT, "w"], ["x"]), node("Relu", ["x"], [SEAM])], [INPUT], [SEAM], 1.0)
    nodes = [node("Mul", [SEAM, "w"], ["x"]), node("Relu", ["x"], ["embedding"]), node("Neg", ["x"], ["feature"])]
    return joined(first, model("b", nodes, [SEAM], list(OUTPUTS), 3.0))


def run(graph, given: dict):
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(graph).run(None, given)


def test_the_joined_graph_is_one_after_the_other():
    clips = np.array([[-2.0, 4.0]], np.float32)
    onnx.checker.check_model(whole(), full_check=True)
    embedding, feature = run(whole(), {INPUT: clips})
    np.testing.assert_array_equal(embedding, [[0, 15]])
    np.testing.assert_array_equal(feature, [[0, -15]])
    assert [value.name for value in whole().graph.output] == list(OUTPUTS)


def test_the_halves_give_what_the_whole_gives():
    clips = np.array([[-2.0, 4.0]], np.float32)
    first, second = halves(whole())
    for half in (first, second):
        onnx.checker.check_model(half, full_check=True)
        assert len(half.graph.initializer) == 1
    (features,) = run(first, {INPUT: clips})
    for found, wanted in zip(run(second, {SEAM: features}), run(whole(), {INPUT: clips}), strict=True):
        np.testing.assert_array_equal(found, wanted)


def test_nodes_that_a_quantiser_adds_at_the_seam_belong_to_the_second_half():
    graph = whole()
    del graph.graph.value_info[:]  # and it drops the types of tensors
    mul = next(node for node in graph.graph.node if node.op_type == "Mul")
    at = list(graph.graph.node).index(mul)
    mul.input[0] = "dequantised"
    graph.graph.node.insert(at, onnx.helper.make_node("QuantizeLinear", [SEAM, "scale", "zero"], ["q"]))
    graph.graph.node.insert(at + 1, onnx.helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dequantised"]))
    graph.graph.initializer.append(onnx.helper.make_tensor("scale", onnx.TensorProto.FLOAT, [], [0.5]))
    graph.graph.initializer.append(onnx.helper.make_tensor("zero", onnx.TensorProto.UINT8, [], [0]))
    first, second = halves(graph)
    assert [node.op_type for node in first.graph.node] == ["Add", "Relu"]
    assert [node.op_type for node in second.graph.node][:2] == ["QuantizeLinear", "DequantizeLinear"]
    (features,) = run(first, {INPUT: np.array([[1.0, 1.5]], np.float32)})
    np.testing.assert_array_equal(run(second, {SEAM: features})[0], [[6, 7.5]])


def rename(graph):
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = ["renamed" if name == SEAM else name for name in names]


def bypass(graph):
    next(node for node in graph.node if node.op_type == "Neg").input[0] = INPUT


@pytest.mark.parametrize("change", [rename, bypass])
def test_a_graph_without_a_seam_has_no_halves(change):
    graph = whole()
    change(graph.graph)
    assert list(halves(graph)) == []
