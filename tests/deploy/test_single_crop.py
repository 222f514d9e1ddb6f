"""Files for edge pipelines: the vector of a looped crop, plain operators, fixed names, and the files beside them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stmga import STMGA, STMGAConfig, TrackletEmbedder
from stmga.deploy import ExportedModel, export_single_crop
from stmga.deploy.tensorrt import SUPPORTED, TensorRTError, check_operators
from tests.support.exported import untrained

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
CONFIG = STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=4)


@pytest.fixture(scope="module")
def model() -> STMGA:
    return untrained(CONFIG)


@pytest.fixture(scope="module")
def done(model, tmp_path_factory):
    return export_single_crop(model, tmp_path_factory.mktemp("edge") / "person one.onnx")


def run(path, crops: np.ndarray) -> np.ndarray:
    """What ONNX Runtime computes of (n h w 3) uint8 crops."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["embedding"], {"crops": crops.transpose(0, 3, 1, 2).astype(np.float32)})[0]


@pytest.mark.slow
def test_a_crop_has_the_vector_of_a_tracklet_of_one_frame(done, model):
    crops = np.random.default_rng(0).integers(0, 256, (5, 64, 32, 3), dtype=np.uint8)
    wanted = TrackletEmbedder(model)({str(i): crops[i : i + 1] for i in range(5)}).vectors
    assert np.abs(run(done.path, crops) - wanted.numpy()).max() <= 1e-5
    assert np.abs(run(done.path, crops[:1]) - wanted.numpy()[:1]).max() <= 1e-5


@pytest.mark.slow
def test_names_shapes_opset_and_operators(done):
    file = onnx.load(done.path)
    assert [i.version for i in file.opset_import] == [18]
    shapes = {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in file.graph.input}
    shapes |= {v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in file.graph.output}
    assert shapes == {"crops": ["n", 3, 64, 32], "embedding": ["n", 256]}
    assert {node.op_type for node in file.graph.node} <= SUPPORTED
    with pytest.raises(ValueError, match="does not say what it is"):
        ExportedModel(done.path)


@pytest.mark.slow
def test_the_files_beside_it_name_it_and_its_shapes(done):
    tracker, nvinfer, commands = (path.read_text() for path in done.beside)
    assert [path.name for path in done.beside] == [
        f"person one.{e}" for e in ("nvtracker.yml", "nvinfer.txt", "commands.txt")
    ]
    assert (
        "inferDims: [3, 64, 32]" in tracker
        and "reidFeatureSize: 256" in tracker
        and 'onnxFile: "person one.onnx"' in tracker
    )
    assert (
        "infer-dims=3;64;32" in nvinfer and "net-scale-factor=1.0" in nvinfer and "onnx-file=person one.onnx" in nvinfer
    )
    assert "--minShapes=crops:1x3x64x32" in commands and "--onnx='person one.onnx'" in commands


@pytest.mark.slow
def test_a_fixed_batch(model, tmp_path):
    fixed = export_single_crop(model, tmp_path / "a.onnx", batch=2)
    graph = onnx.load(fixed.path).graph
    assert [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim] == [2, 3, 64, 32]
    assert "Shape" not in {node.op_type for node in graph.node}
    assert "Shapes" not in fixed.beside[2].read_text() and "batchSize: 2" in fixed.beside[0].read_text()


def test_what_is_refused(model, tmp_path):
    with pytest.raises(ValueError, match=r"ends in \.onnx"):
        export_single_crop(model, tmp_path / "a.pt2")
    with pytest.raises(ValueError, match="batch must be at least 1"):
        export_single_crop(model, tmp_path / "a.onnx", batch=0)
    with pytest.raises(TypeError, match="takes a stmga"):
        export_single_crop(torch.nn.ReLU(), tmp_path / "a.onnx")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        export_single_crop(model, tmp_path / "none" / "a.onnx")


def graph(operator: str, domain: str = "", opset: int = 18):
    values = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    nodes = [onnx.helper.make_node(operator, ["x"], ["y"], domain=domain)]
    made = onnx.helper.make_graph(nodes, "g", values[:1], values[1:])
    return onnx.helper.make_model(made, opset_imports=[onnx.helper.make_opsetid("", opset)])


def test_operators_that_tensorrt_does_not_read():
    check_operators(graph("Relu"))
    for made, match in (
        (graph("Det"), "does not read the operators Det"),
        (graph("Relu", "com.microsoft"), r"the operators com\.microsoft\.Relu"),
        (graph("Relu", opset=23), "opsets 9 to 20, this graph has 23"),
    ):
        with pytest.raises(TensorRTError, match=match):
            check_operators(made)
    computed = graph("ReduceMax")
    computed.graph.node[0].input.append("x")
    with pytest.raises(TensorRTError, match="constant axes"):
        check_operators(computed)
