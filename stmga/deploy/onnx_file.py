"""An ``.onnx`` file, checked before a runtime loads it: standard operators, no loops, no external files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from stmga.utils.foreign import escaped, read_regular

FILE_LIMIT = (1 << 31) - 1  # of protobuf
DOMAINS = ("", "ai.onnx")


class OnnxFile:
    """The bytes and the header of a file.

    Attributes:
        data: the whole file, for the runtime, so that it runs what was checked.
        header: the text of its metadata ``stmga``; empty if there is none.

    Raises:
        ImportError: onnx is not installed.
        ValueError: not an ONNX file.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path, metadata: str) -> None:
        import onnx

        self.data = read_regular(path, FILE_LIMIT)
        try:
            self.model = onnx.load_model_from_string(self.data)
        except Exception as error:  # protobuf's own, which has no types
            raise ValueError(f"it is no ONNX file: {escaped(str(error), 200)}") from error
        self.header = next((entry.value for entry in self.model.metadata_props if entry.key == metadata), "")

    def check(self, *, foreign: bool = False) -> None:
        """Raise ValueError for a file that could do more than compute.

        A tensor in another file would make the runtime read that file, other operators belong to one runtime, and loops
        may never end. A file of `stmga export` has no subgraphs at all. A ``foreign`` one may branch (``If``).
        """
        if self.model.functions or self.model.training_info:
            raise ValueError("it holds functions or training graphs, which are not run; inline the functions")
        _check_graph(self.model.graph, ("If",) if foreign else ())


def _check_graph(graph: Any, branching: tuple[str, ...]) -> None:
    """The operators and tensors of a graph, and of the graphs inside those operators that may have some."""
    if graph.sparse_initializer:
        raise ValueError("it holds sparse tensors, which are not run")
    tensors = list(graph.initializer)
    for node in graph.node:
        if node.domain not in DOMAINS:
            raise ValueError(f"it uses the operator {escaped(f'{node.domain}.{node.op_type}', 80)}, not one of ONNX")
        for attribute in node.attribute:
            inner = subgraphs(attribute)
            if attribute.HasField("sparse_tensor") or (inner and node.op_type not in branching):
                raise ValueError(f"its {escaped(node.op_type, 40)} holds a graph of its own, which may run for ever")
            for branch in inner:
                _check_graph(branch, branching)
            tensors += [attribute.t] if attribute.HasField("t") else []
            tensors += attribute.tensors
    for tensor in tensors:
        _check_tensor(tensor)


def subgraphs(attribute: Any) -> list[Any]:
    """The graphs inside an operator's attribute."""
    return [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def onnx_session(data: bytes, *, providers: Sequence[str] | None = None, optimised: bool = True) -> Any:
    """ONNX Runtime with the bytes of a checked file, on the CPU by default, with as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(data, options, providers=list(providers or ["CPUExecutionProvider"]))


def _check_tensor(tensor: Any) -> None:
    if tensor.external_data or tensor.data_location:
        places = ", ".join(entry.value for entry in tensor.external_data if entry.key == "location")
        raise ValueError(f"its {escaped(tensor.name, 60)} is stored in another file ({escaped(places, 100)})")
