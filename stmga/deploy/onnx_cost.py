"""What an ONNX graph costs to compute: its multiply-accumulates, from the shapes of its tensors."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stmga.deploy.onnx_file import subgraphs

logger = logging.getLogger(__name__)

Shape = tuple[int, ...]
INTEGERS = ("INT64", "BOOL", "STRING")  # of shapes and conditions, not of weights
UNCOUNTED = ("Attention", "DeformConv", "GRU", "LSTM", "RNN")  # they multiply matrices, and are not counted here


def graph_gmac(model: Any, inputs: Mapping[str, Sequence[int]]) -> float | None:
    """Multiply-accumulates of one run, in units of 10^9; None, and a warning, where they cannot be counted.

    As torch's counter: convolutions and matrix products, nothing element by element. Of a branch, the larger side.

    Args:
        model: an ``onnx.ModelProto``; it stays as it is.
        inputs: the shape of every input.
    """
    import onnx

    try:
        return _macs(onnx.shape_inference.infer_shapes(_with_inputs(model, inputs), data_prop=True).graph, {}) / 1e9
    except _UncountedError as error:
        logger.warning("the multiply-accumulates of an ONNX graph are not known: %s", error)
        return None


def graph_parameters(model: Any) -> int:
    """How many numbers its weights have; whole numbers of 64 bits, which are shapes, do not count."""
    import onnx

    kinds = {onnx.TensorProto.DataType.Value(name) for name in INTEGERS}
    constants = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    tensors = [*model.graph.initializer, *constants]
    return sum(math.prod(tensor.dims) for tensor in tensors if tensor.data_type not in kinds)


class _UncountedError(Exception):
    """A shape is not known, or an operator is not counted."""


def _with_inputs(model: Any, inputs: Mapping[str, Sequence[int]]) -> Any:
    """A copy with these shapes of its inputs, and without what it states of other shapes."""
    import onnx

    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    for value in copied.graph.input:
        if value.name in inputs:
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for n in inputs[value.name]:
                shape.dim.add(dim_value=n)
    del copied.graph.value_info[:]
    for value in copied.graph.output:
        value.type.tensor_type.ClearField("shape")
    return copied


def _macs(graph: Any, outside: Mapping[str, Shape]) -> float:
    shapes = dict(outside) | {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in [*graph.input, *graph.output, *graph.value_info]:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(d.HasField("dim_value") for d in dims):
            shapes[value.name] = tuple(d.dim_value for d in dims)
    total = 0.0
    for node in graph.node:
        if node.op_type in UNCOUNTED:
            raise _UncountedError(f"it has the operator {node.op_type}")
        count = _COUNTS.get(node.op_type)
        if count is not None:
            a, b = (_shape(shapes, node, name) for name in (node.input[0], node.input[_SECOND.get(node.op_type, 1)]))
            total += count(node, a, b, _shape(shapes, node, node.output[0]))
        branches = [_macs(branch, shapes) for attribute in node.attribute for branch in subgraphs(attribute)]
        total += max(branches, default=0.0)
    return total


def _shape(shapes: Mapping[str, Shape], node: Any, name: str) -> Shape:
    if name not in shapes:
        raise _UncountedError(f"the shape of {name!r} at its {node.op_type} cannot be inferred")
    return shapes[name]


def _convolution(node: Any, x: Shape, weight: Shape, y: Shape) -> float:
    """Each number of the output is a product of as many numbers as one filter (c / groups, kernel) has."""
    return math.prod(y) * math.prod(weight[1:])


def _transposed(node: Any, x: Shape, weight: Shape, y: Shape) -> float:
    return math.prod(x) * math.prod(weight[1:])


def _product(node: Any, a: Shape, b: Shape, y: Shape) -> float:
    return math.prod(y) * a[-1]


def _gemm(node: Any, a: Shape, b: Shape, y: Shape) -> float:
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(y) * a[0 if transposed else 1]


def _einsum(node: Any, a: Shape, b: Shape, y: Shape) -> float:
    """Of two operands: a multiplication for every combination of all indices."""
    equation = next(attribute.s.decode() for attribute in node.attribute if attribute.name == "equation")
    left = equation.replace(" ", "").partition("->")[0].split(",")
    if len(left) != 2 or "." in equation:
        raise _UncountedError(f"it has the Einsum {equation!r}")
    sizes = dict(zip(left[0] + left[1], a + b, strict=True))
    return math.prod(sizes.values())


_COUNTS: dict[str, Callable[[Any, Shape, Shape, Shape], float]] = {
    "Conv": _convolution,
    "ConvInteger": _convolution,
    "QLinearConv": _convolution,
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "MatMulInteger": _product,
    "QLinearMatMul": _product,
    "Gemm": _gemm,
    "Einsum": _einsum,
}
_SECOND = {"QLinearConv": 3, "QLinearMatMul": 3}  # which input is the second factor, where it is not number 1
