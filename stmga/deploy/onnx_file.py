"""An ``.onnx`` file, checked before a runtime loads it: one graph of standard operators, without external files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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

    def check(self) -> None:
        """Raise ValueError for a file that `stmga export` cannot have written.

        A tensor in another file would make the runtime read that file, other operators belong to one runtime, and
        subgraphs are loops, which may never end.
        """
        model = self.model
        graph = model.graph
        if model.functions or model.training_info or graph.sparse_initializer:
            raise ValueError("it holds functions, training or sparse tensors; `stmga export` never writes them")
        tensors = list(graph.initializer)
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise ValueError(
                    f"it uses the operator {escaped(f'{node.domain}.{node.op_type}', 80)}, not one of ONNX"
                )
            for attribute in node.attribute:
                if attribute.HasField("g") or attribute.graphs or attribute.HasField("sparse_tensor"):
                    raise ValueError(
                        f"its {escaped(node.op_type, 40)} holds a graph of its own, which may run for ever"
                    )
                tensors += [attribute.t] if attribute.HasField("t") else []
                tensors += attribute.tensors
        for tensor in tensors:
            _check_tensor(tensor)


def _check_tensor(tensor: Any) -> None:
    if tensor.external_data or tensor.data_location:
        places = ", ".join(entry.value for entry in tensor.external_data if entry.key == "location")
        raise ValueError(f"its {escaped(tensor.name, 60)} is stored in another file ({escaped(places, 100)})")
