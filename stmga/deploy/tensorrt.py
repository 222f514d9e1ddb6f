"""What TensorRT 10 can read of ONNX, and a check of a graph against it."""

from __future__ import annotations

from typing import Any

# docs/operators.md of github.com/onnx/onnx-tensorrt for TensorRT 10.15: the operators with a Y under "Supported".
VERSION = "10.15"
OPSETS = range(9, 21)  # of TensorRT 10.0; 10.15 takes 9 to 24
OPERATORS = """
    Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh Attention AveragePool BatchNormalization BlackmanWindow
    Cast CastLike Ceil Celu Clip Concat Constant ConstantOfShape Conv ConvTranspose Cos Cosh CumSum DeformConv
    DepthToSpace DequantizeLinear Div Dropout Einsum Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather
    GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalLpPool GlobalMaxPool Greater GreaterOrEqual GridSample
    GroupNormalization GRU HammingWindow HannWindow HardSigmoid HardSwish Hardmax Identity If ImageScaler
    InstanceNormalization IsInf IsNaN LayerNormalization LeakyRelu Less LessOrEqual Log LogSoftmax Loop LRN LSTM
    LpNormalization LpPool MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Mod Mul Neg NonMaxSuppression
    NonZero Not OneHot Or Pad ParametricSoftplus Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform
    RandomUniformLike Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin
    ReduceProd ReduceSum ReduceSumSquare Relu Reshape Resize ReverseSequence RMSNormalization RNN RoiAlign
    RotaryEmbedding Round STFT ScaledTanh Scan Scatter ScatterElements ScatterND Selu Shape Shrink Sigmoid Sign Sin Sinh
    Size Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt Squeeze Sub Sum Tan Tanh TensorScatter ThresholdedRelu
    Tile TopK Transpose Trilu Unsqueeze Upsample Where Xor
    """
SUPPORTED = frozenset(OPERATORS.split())
CONSTANT_AXES = ("Reduce", "Squeeze", "Unsqueeze")  # their second input must be a constant


class TensorRTError(ValueError):
    """A graph that TensorRT cannot read; the message names the operators."""


def check_operators(model: Any) -> None:
    """Raise TensorRTError for an ONNX model with operators or an opset that TensorRT 10 does not read."""
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), 0)
    if opset not in OPSETS:
        raise TensorRTError(f"TensorRT 10 reads the opsets {OPSETS[0]} to {OPSETS[-1]}, this graph has {opset}")
    names = {f"{node.domain}.{node.op_type}".removeprefix("ai.onnx").lstrip(".") for node in model.graph.node}
    if unknown := names - SUPPORTED:
        raise TensorRTError(
            f"TensorRT {VERSION} does not read the operators {', '.join(sorted(unknown))}; use another trunk, or "
            "export without --single-crop for ONNX Runtime"
        )
    constants = {tensor.name for tensor in model.graph.initializer}
    constants |= {name for node in model.graph.node if node.op_type == "Constant" for name in node.output}
    for node in model.graph.node:
        if node.op_type.startswith(CONSTANT_AXES) and len(node.input) > 1 and node.input[1] not in {"", *constants}:
            raise TensorRTError(f"TensorRT wants constant axes, but those of {node.op_type} ({node.name}) are computed")
