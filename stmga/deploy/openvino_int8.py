"""int8 for OpenVINO by nncf: an IR with FakeQuantize operators, int8 weights, and the rest in half precision."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from stmga.deploy.header import METADATA
from stmga.deploy.onnx_halves import INPUT
from stmga.deploy.openvino_file import weights_digest, without_telemetry
from stmga.deploy.quantization import SMALL, TRUNK, Graph, quiet


class OpenvinoQuantizer:
    """Quantises an exported ONNX graph for OpenVINO; see :class:`stmga.deploy.int8.Quantizer`.

    Raises:
        ValueError: a trunk whose weights are not in operators that int8 can compute.
    """

    methods: Sequence[str] = ("mean of min and max over tracklets",)

    def __init__(self, whole: Path, clips: Sequence[Tensor]) -> None:
        import onnx

        self.graph = Graph(onnx.load(whole))
        plain = onnx.ModelProto()
        plain.CopyFrom(self.graph.model)
        del plain.metadata_props[:]  # OpenVINO would copy the float32 header
        self._data = plain.SerializeToString()
        self._inputs = [{INPUT: clip.numpy()} for clip in clips]

    def quantized(self, method: str, modules: Sequence[str]) -> Any:
        """An OpenVINO model with these modules in int8."""
        nncf = without_telemetry("nncf")
        model = without_telemetry("openvino").Core().read_model(self._data)
        with quiet():
            model = nncf.quantize(
                model,
                nncf.Dataset(self._inputs),
                preset=nncf.QuantizationPreset.MIXED,  # activations with a zero point, weights without
                subset_size=len(self._inputs),
                ignored_scope=nncf.IgnoredScope(names=self._ignored(model, modules), validate=False),
            )
        _store_in_half(model)
        return model

    def digest(self, model: Any) -> str:
        return weights_digest(_serialized(model)[1])

    def files(self, model: Any, path: Path, header: str) -> dict[Path, bytes]:
        model.set_rt_info(header, [METADATA])
        xml, weights = _serialized(model)
        return {path: xml, path.with_suffix(".bin"): weights}

    def _ignored(self, model: Any, modules: Sequence[str]) -> list[str]:
        """Operators that stay in floating point: all but the trunk's, and those of the heads that have weights."""
        kept = {*self.graph.of(TRUNK), *self.graph.nodes(modules)}
        names = [op.get_friendly_name() for op in model.get_ops()]
        return [name for name in names if name.partition("/")[0] not in kept]  # "node/WithoutBiases" is of a node


def _serialized(model: Any) -> tuple[bytes, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        xml, weights = Path(folder, "model.xml"), Path(folder, "model.bin")
        without_telemetry("openvino").serialize(model, xml, weights)
        return xml.read_bytes(), weights.read_bytes()


def _store_in_half(model: Any) -> None:
    """Store large float32 weights as float16 with a Convert, which OpenVINO computes once, when it loads the file.

    Its own ``compress_to_fp16`` leaves a model with int8 weights as it is.
    """
    openvino = without_telemetry("openvino")
    for op in model.get_ops():
        if op.get_type_name() != "Constant" or op.get_element_type() != openvino.Type.f32:
            continue
        values = op.get_data()
        if values.ndim < 2 or values.size < SMALL or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        half = openvino.opset1.constant(values.astype(np.float16), name=f"{op.get_friendly_name()}.half")
        wide = openvino.opset1.convert(half, "f32", name=op.get_friendly_name())
        for target in op.output(0).get_target_inputs():
            target.replace_source_output(wide.output(0))
