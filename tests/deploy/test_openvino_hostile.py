"""An .xml file from a stranger has only operators of OpenVINO's opsets, no entities, and the .bin written with it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from stmga.deploy.exported import ExportedModel
from tests.support.exported import HEADER, refused

openvino = pytest.importorskip("openvino", reason="an .xml file runs in OpenVINO")


@pytest.fixture
def path(members, tmp_path) -> Path:
    """A tiny graph with the header of a good file: the mean over pixels."""
    ops, path = openvino.opset13, tmp_path / "a.xml"
    clips = ops.parameter([-1, -1, 3, 32, 16], openvino.Type.f32, name="clips")
    mean = ops.reduce_mean(clips, ops.constant(np.array([1, 3, 4])))
    outputs = [ops.multiply(mean, ops.constant(np.float32([[scale] * 3]))) for scale in (2, 3)]
    for op, name in ((clips, "clips"), *zip(outputs, ("embedding", "feature"), strict=True)):
        op.output(0).get_tensor().set_names({name})
    model = openvino.Model(outputs, [clips])
    openvino.serialize(model, path, path.with_suffix(".bin"))
    digest = hashlib.sha256(path.with_suffix(".bin").read_bytes()).hexdigest()
    model.set_rt_info(json.dumps({**json.loads(members[HEADER]), "digest": digest}), ["stmga"])
    openvino.serialize(model, path, path.with_suffix(".bin"))
    return path


def edit(path: Path, pattern: str, new: str) -> None:
    text, count = re.subn(pattern, new, path.read_text("utf-8"), count=1, flags=re.DOTALL)
    assert count == 1, pattern
    path.write_text(text, "utf-8")


def test_the_file_itself_runs(path):
    exported = ExportedModel(path)
    clips = torch.rand(2, 1, 3, 32, 16)
    torch.testing.assert_close(exported(clips), 2 * clips.mean((1, 3, 4)))
    assert exported.runtime == "openvino" and exported.dim == 3


@pytest.mark.parametrize(
    ("pattern", "new", "match"),
    [
        (r"<net ", '<!DOCTYPE net [<!ENTITY a "b">]><net ', "document type"),
        (r"<net ", '<!DOCTYPE net SYSTEM "secret.dtd"><net ', "document type"),
        (r'type="Multiply" version="opset1"', 'type="Multiply" version="extension"', r"extension\.Multiply"),
        (r'type="Multiply" version="opset1"', 'type="Loop" version="opset5"', r"opset5\.Loop"),
        (r'type="Multiply" version="opset1"', 'type="Assign" version="opset6"', r"opset6\.Assign"),
        (r"</layer>", "<body><layers><layer/></layers></body></layer>", "a graph of its own"),
        (r"<rt_info>", '<rt_info><runtime_options value="x"/>', "options for the runtime"),
        (r'offset="0" size="24"', 'offset="8" size="24000"', "not within the 48 bytes"),
        (r'offset="0" size="24"', 'offset="-8" size="24"', "not within the 48 bytes"),
        (r"<layers>", "<layers>" + "<a>" * 40, "nested more than 32 deep"),
        (r"</net>", "", "it is no XML"),
        (r"<stmga value=", "<other value=", "does not say what it is"),
    ],
)
def test_an_xml_file_that_reaches_further(path, pattern, new, match):
    edit(path, pattern, new)
    refused(path, match)


def test_another_encoding(path):
    """OpenVINO may read it in another way than it was checked."""
    text = path.read_text("utf-8")
    for data in (text.encode("utf-16"), text.replace("?>", ' encoding="latin1"?>', 1).encode()):
        path.write_bytes(data)
        refused(path, "does not begin with")


def test_a_bin_that_is_missing_or_of_another_file(path):
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[::-1])
    refused(path, r"a\.bin is damaged or not of .*a\.xml; copy both")
    weights.unlink()
    refused(path, r"weights in a\.bin, which is missing; copy both")
    if hasattr(os, "mkfifo"):
        os.mkfifo(weights)
        refused(path, "not a regular file")
