"""Small ONNX files that stmga did not write: a convolution of images, with any input and output."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def write_image_net(
    path: Path,
    shape: Sequence[int | str] = ("n", 3, 32, 16),
    *,
    kind: str = "FLOAT",
    pooled: bool = True,
    change: Callable[[Any, Any], object] = lambda onnx, model: None,
) -> Path:
    """images -> features: a convolution of 3 to 5 channels, then the mean over the map if ``pooled``."""
    import onnx

    helper, element = onnx.helper, getattr(onnx.TensorProto, kind)
    weight = np.random.default_rng(0).normal(size=(5, 3, 3, 3)).astype(helper.tensor_dtype_to_np_dtype(element))
    nodes = [helper.make_node("Conv", ["images", "w"], ["map" if pooled else "features"], strides=[2, 2])]
    if pooled:
        nodes += [
            helper.make_node("GlobalAveragePool", ["map"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["features"]),
        ]
    images = helper.make_tensor_value_info("images", element, shape)
    features = helper.make_tensor_value_info("features", element, [shape[0], 5] if pooled else [shape[0], 5, "a", "b"])
    graph = helper.make_graph(nodes, "net", [images], [features], [onnx.numpy_helper.from_array(weight, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    change(onnx, model)
    path.write_bytes(model.SerializeToString())
    return path
