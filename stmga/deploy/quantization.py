"""int8 of an ONNX graph by ONNX Runtime: ranges of its activations, quantised modules, the rest in half precision."""

from __future__ import annotations

import hashlib
import io
import logging
import math
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stmga.deploy.header import METADATA
from stmga.deploy.onnx_halves import INPUT

TRUNK = "backbone"
WEIGHTED = ("Conv", "Gemm", "MatMul")  # what int8 can compute with weights
BETWEEN = ("Add", "MaxPool", "Relu")  # what is quantised between them in the trunk, so that it stays in int8
LEAST_SHARE = 0.9  # of the trunk's weights that must be in such operators
METHODS = {"min and max": "MinMax", "percentile": "Percentile"}  # how the range of an activation is found
PERCENTILE = 99.999  # of the values that a range holds; the few beyond are clipped
MODULE = re.compile(r"\bmodel\.(\w+)")
SMALL = 1024  # values; smaller tensors stay in float32


class Graph:
    """An exported ONNX graph whose nodes know the module they come from, such as ``backbone`` or ``s_mga``.

    Raises:
        ValueError: a trunk whose weights are not in operators that int8 can compute.
    """

    def __init__(self, model: Any) -> None:
        import onnx

        self.model = onnx.shape_inference.infer_shapes(model)
        self._sizes = {
            tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer if len(tensor.dims) > 1
        }
        self._modules = {node.name: _module(node) for node in model.graph.node}
        self._check_trunk()

    @property
    def heads(self) -> list[str]:
        """The modules after the trunk that have weights, in order."""
        named = [self._modules[node.name] for node in self.model.graph.node if self._weights(node)]
        return [name for name in dict.fromkeys(named) if name not in (TRUNK, "")]

    def nodes(self, modules: Iterable[str]) -> list[str]:
        """Names of the nodes to quantise, if these modules are in int8."""
        wanted = set(modules)
        return [
            node.name
            for node in self.model.graph.node
            if (self._modules[node.name] in wanted and node.op_type in WEIGHTED and self._weights(node))
            or (self._modules[node.name] == TRUNK and node.op_type in BETWEEN)
        ]

    def of(self, module: str) -> list[str]:
        """Names of the nodes of a module."""
        return [name for name, found in self._modules.items() if found == module]

    def _weights(self, node: Any) -> int:
        """How many weights it computes with."""
        return sum(self._sizes.get(name, 0) for name in node.input)

    def _check_trunk(self) -> None:
        held: dict[str, int] = {}
        for node in self.model.graph.node:
            if self._modules[node.name] == TRUNK:
                held[node.op_type] = held.get(node.op_type, 0) + self._weights(node)
        total = sum(held.values())
        if not total or sum(held.get(name, 0) for name in WEIGHTED) < LEAST_SHARE * total:
            others = ", ".join(sorted(name for name, size in held.items() if size and name not in WEIGHTED))
            raise ValueError(
                f"int8 computes {', '.join(WEIGHTED)}, but the trunk has its weights in {others or 'no operator'}; "
                "export this network without --int8"
            )


class OnnxQuantizer:
    """Quantises an exported ONNX graph by ONNX Runtime; see :class:`stmga.deploy.int8.Quantizer`.

    Raises:
        ValueError: a trunk whose weights are not in operators that int8 can compute.
    """

    methods: Sequence[str] = tuple(METHODS)

    def __init__(self, whole: Path, clips: Sequence[Tensor]) -> None:
        import onnx

        self.graph = Graph(onnx.load(whole))
        batches = [clip.numpy() for clip in clips]
        self._ranges = {name: activation_ranges(self.graph, name, batches, INPUT) for name in METHODS}

    def quantized(self, method: str, modules: Sequence[str]) -> Any:
        """An ONNX model with these modules in int8."""
        return quantized(self.graph, self._ranges[method], modules)

    def digest(self, model: Any) -> str:
        return hashlib.sha256(model.graph.SerializeToString(deterministic=True)).hexdigest()

    def files(self, model: Any, path: Path, header: str) -> dict[Path, bytes]:
        next(entry for entry in model.metadata_props if entry.key == METADATA).value = header
        return {path: model.SerializeToString()}


def _module(node: Any) -> str:
    """The module that the exporter noted, such as ``backbone`` of "model.backbone.layer1"; "" if it noted none."""
    scopes = next((entry.value for entry in node.metadata_props if entry.key.endswith("name_scopes")), "")
    found = MODULE.search(scopes)
    return found[1] if found else ""


def activation_ranges(graph: Graph, method: str, batches: Sequence[np.ndarray], name: str) -> Any:
    """What ONNX Runtime measures of every activation, batch by batch, so that memory stays small.

    Args:
        method: of :data:`METHODS`.
        batches: each a value of the input ``name``.
    """
    import onnx
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder, "graph.onnx")
        onnx.save(graph.model, path)
        calibrator = create_calibrator(
            path,
            [*WEIGHTED, *BETWEEN],
            augmented_model_path=str(Path(folder, "augmented.onnx")),
            calibrate_method=getattr(CalibrationMethod, METHODS[method]),
            extra_options={"percentile": PERCENTILE} if METHODS[method] == "Percentile" else {},
        )
        for batch in batches:
            calibrator.collect_data(_Reader([{name: batch}]))
        return calibrator.compute_data()


class _Reader:
    """A CalibrationDataReader: a dict of inputs at each call, then None."""

    def __init__(self, inputs: Iterable[dict[str, np.ndarray]]) -> None:
        self._inputs: Iterator[dict[str, np.ndarray]] = iter(inputs)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._inputs, None)


def quantized(graph: Graph, ranges: Any, modules: Iterable[str]) -> Any:
    """A model with these modules in int8; other weights are stored in half precision.

    Activations are uint8 with a zero point, weights int8 with a scale per output channel: the forms for which
    processors with VNNI have an instruction.
    """
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(graph.model)
    with quiet():
        model = QDQQuantizer(
            copy,
            per_channel=True,
            reduce_range=False,
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=graph.nodes(modules),
            nodes_to_exclude=[],
            op_types_to_quantize=[*WEIGHTED, *BETWEEN],
            extra_options={},
        ).quantize_model()
    ONNXModel(model).topological_sort()  # new nodes are at the end, and a graph is cut into halves in order
    _store_in_half(model)
    return model


def _store_in_half(model: Any) -> None:
    """Store large float32 weights as float16 with a Cast, which a runtime computes once, when it loads the file."""
    import onnx

    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2 or math.prod(tensor.dims) < SMALL:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        if np.abs(values).max() > np.finfo(np.float16).max:
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], f"{name}.cast", to=onnx.TensorProto.FLOAT))
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*casts, *nodes])


@contextmanager
def quiet() -> Iterator[None]:
    """Without what the quantiser prints and logs: advice for other uses."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(before)
