"""An ONNX graph as two halves: one for frames, one for clips. The tensor between them has a known name.

A runtime that knows nothing of halves runs the whole graph. This library loads each half on its own, so that a frame
goes through the first half once, however often the clips of its tracklet repeat it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import Any

SEAM = "frame_features"  # (b t p c), the last tensor that depends on one frame alone
INPUT, OUTPUTS = "clips", ("embedding", "feature")
PREFIX = "clips."  # of the names within the second half


def joined(frames: Any, clips: Any) -> Any:
    """One model of two: ``clips`` -> :data:`SEAM` and :data:`SEAM` -> ``embedding``, ``feature``."""
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(frames)
    seam = whole.graph.output.pop()
    whole.graph.value_info.append(seam)  # a half needs to know its type and shape
    second = clips.graph
    ends = {SEAM, *OUTPUTS}
    for node in second.node:
        node.name = PREFIX + node.name
        for names in (node.input, node.output):
            names[:] = [name if name in ends or not name else PREFIX + name for name in names]
    for value in (*second.initializer, *second.value_info):
        value.name = PREFIX + value.name
    for name in ("node", "initializer", "value_info", "output"):
        getattr(whole.graph, name).extend(getattr(second, name))
    return whole


def halves(model: Any) -> Iterator[Any]:
    """The model up to the seam and the model from there, each a model of its own; nothing if it has no seam.

    It has none if no tensor has that name, as in older files and where a tool has renamed it, or if something beyond
    the seam depends on the clips in another way.
    """
    first, reached = _behind(model.graph, [SEAM], stop=())
    second, also = _behind(model.graph, OUTPUTS, stop=[SEAM])
    if first and SEAM in also and INPUT in reached and INPUT not in also:
        seam = next((value for value in model.graph.value_info if value.name == SEAM), None) or _unknown()
        yield _part(model, first, [value for value in model.graph.input if value.name == INPUT], [seam])
        yield _part(model, second, [seam], list(model.graph.output))


def _behind(graph: Any, ends: Sequence[str], stop: Container[str]) -> tuple[list[Any], set[str]]:
    """The nodes that these tensors depend on, in order, and the names of all tensors on the way."""
    nodes, reached = [], set(ends)
    for node in reversed(graph.node):  # a graph is sorted: whoever needs a tensor comes after it
        if any(name in reached and name not in stop for name in node.output):
            nodes.append(node)
            reached.update(node.input)
    return nodes[::-1], reached


def _part(model: Any, nodes: Sequence[Any], inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
    import onnx

    used = {name for node in nodes for name in node.input}
    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = model.graph.name
    part.graph.node.extend(nodes)
    part.graph.input.extend(inputs)
    part.graph.output.extend(outputs)
    part.graph.initializer.extend(tensor for tensor in model.graph.initializer if tensor.name in used)
    return part


def _unknown() -> Any:
    """The seam where the file does not describe it."""
    import onnx

    return onnx.helper.make_tensor_value_info(SEAM, onnx.TensorProto.FLOAT, ["b", "t", "p", "c"])
