"""An OpenVINO IR, ``.xml`` and ``.bin``, checked before OpenVINO loads it: operators of its opsets, no loops."""

from __future__ import annotations

import hashlib
import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.parsers import expat

from stmga.deploy.onnx_file import FILE_LIMIT
from stmga.deploy.onnx_halves import INPUT, SEAM
from stmga.utils.foreign import MB, escaped, read_regular

XML_LIMIT = 64 * MB
DEPTH = 32  # of nested elements; OpenVINO's parser frees them by recursion
BEGINNING = b'<?xml version="1.0"?>'  # as OpenVINO writes it: no encoding that its parser may understand otherwise
LAYER = ["net", "layers", "layer"]
STATE_OR_GRAPHS = ("Assign", "If", "Loop", "ReadValue", "TensorIterator")  # a graph of its own, or memory between runs
SILENT = {"CI": "true", "NNCF_CI": "1"}  # with these, Intel's packages send nothing


class WeightsFileError(ValueError):
    """The ``.bin`` of an ``.xml`` is missing, or belongs to another file."""


class OpenvinoFile:
    """The bytes of both files and the header.

    Attributes:
        data, weights: the bytes of ``.xml`` and ``.bin``, for the runtime, so that it runs what was checked.
        header: the text in the file's ``rt_info``; empty if there is none.

    Raises:
        WeightsFileError: there is no ``.bin`` of the same name beside it.
        ValueError: not an IR.
        OSError: one of them cannot be read.
    """

    def __init__(self, path: Path, metadata: str) -> None:
        self.path = path
        self.data = read_regular(path, XML_LIMIT)
        if not self.data.startswith(BEGINNING):
            raise ValueError(f"it does not begin with {BEGINNING.decode()}, as OpenVINO writes it")
        try:
            self._found = _Elements(self.data)
        except expat.ExpatError as error:
            raise ValueError(f"it is no XML: {escaped(str(error), 200)}") from error
        self.header = self._found.values.get(metadata, "")
        if not self._weights_path.exists():
            raise WeightsFileError(f"{path} has its weights in {self._weights_path.name}, which is missing; copy both")
        self.weights = read_regular(self._weights_path, FILE_LIMIT)

    @property
    def _weights_path(self) -> Path:
        return self.path.with_suffix(".bin")

    def check(self) -> None:
        """Raise ValueError for a file that could do more than compute, or that names weights beyond its ``.bin``."""
        for kind, version in self._found.layers:
            if not re.fullmatch(r"opset\d{1,3}", version) or kind in STATE_OR_GRAPHS:
                name = escaped(f"{version}.{kind}", 80)
                raise ValueError(f"it uses the operator {name}; expected those of OpenVINO's opsets that only compute")
        if "runtime_options" in self._found.values:
            raise ValueError("it holds options for the runtime, which `stmga export` never writes")
        for offset, size in self._found.constants:
            if not (offset.isdecimal() and size.isdecimal() and int(offset) + int(size) <= len(self.weights)):
                place = escaped(f"offset {offset}, size {size}", 80)
                raise ValueError(f"a constant at {place} is not within the {len(self.weights):,} bytes of its .bin")

    def check_weights(self, digest: str) -> None:
        """Raise WeightsFileError unless the ``.bin`` is the one that was written with this ``.xml``."""
        if weights_digest(self.weights) != digest:
            raise WeightsFileError(f"{self._weights_path} is damaged or not of {self.path}; copy both of one export")


class _Elements:
    """What is checked of an XML document: its layers, where their constants are, and values in ``rt_info``."""

    def __init__(self, data: bytes) -> None:
        self.layers: list[tuple[str, str]] = []  # type, version
        self.constants: list[tuple[str, str]] = []  # offset, size
        self.values: dict[str, str] = {}
        self._open: list[str] = []
        parser = expat.ParserCreate("utf-8")
        parser.StartDoctypeDeclHandler = self._doctype
        parser.StartElementHandler = self._start
        parser.EndElementHandler = lambda name: self._open.pop()
        parser.Parse(data, True)

    def _doctype(self, *of: object) -> None:
        raise ValueError("it declares a document type, which could hold entities; `stmga export` never writes one")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._open.append(name)
        if len(self._open) > DEPTH:
            raise ValueError(f"its elements are nested more than {DEPTH} deep")
        if name == "layer":
            if self._open != LAYER:
                raise ValueError("one of its operators holds a graph of its own, which may run for ever")
            self.layers.append((attributes.get("type", ""), attributes.get("version", "")))
        elif self._open == [*LAYER, "data"] and self.layers[-1][0] == "Const":
            self.constants.append((attributes.get("offset", ""), attributes.get("size", "")))
        elif self._open[:-1] == ["net", "rt_info"]:
            self.values[name] = attributes.get("value", "")


def weights_digest(weights: bytes) -> str:
    """The digest of a file: of all its numbers, the int8 weights and the ranges of activations."""
    return hashlib.sha256(weights).hexdigest()


def openvino_halves(model: Any) -> Sequence[Any]:
    """The model up to the seam and the model from there; the model alone if it has no seam. It is cut in place."""
    import openvino

    seam = next((out for op in model.get_ops() for out in op.outputs() if SEAM in out.get_names()), None)
    if seam is None:
        return [model]
    given = openvino.opset1.parameter(seam.get_partial_shape(), seam.get_element_type(), name=SEAM)
    given.output(0).get_tensor().set_names({SEAM})
    for target in seam.get_target_inputs():
        target.replace_source_output(given.output(0))
    second = openvino.Model(model.get_results(), [given])  # it raises if it needs the clips as well
    clips = [parameter for parameter in model.get_parameters() if INPUT in parameter.output(0).get_names()]
    return openvino.Model([seam], clips), second


def without_telemetry(name: str) -> Any:
    """Import OpenVINO or nncf, which would otherwise report their use over the network.

    Raises:
        ImportError: it is not installed.
    """
    before = {key: os.environ.get(key) for key in SILENT}
    os.environ.update(SILENT)
    try:
        return importlib.import_module(name)
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value
