"""Configuration files beside an ONNX file for single crops: DeepStream's tracker and nvinfer, TensorRT, Hailo.

Names of the keys: the ReID section of NvMultiObjectTracker and the property group of Gst-nvinfer in NVIDIA's DeepStream
documentation, ``trtexec --help`` of TensorRT 10, and the command ``hailo`` of Hailo's Dataflow Compiler. Nothing here
was run on such a device.
"""

from __future__ import annotations

import shlex
from pathlib import Path

LARGEST_BATCH = 100  # DeepStream's own default for its ReID network

TRACKER = """\
# The ReID section of a configuration of DeepStream's NvMultiObjectTracker (nvtracker); copy it into yours.
# {onnx} takes RGB in 0..255: its mean and standard deviation are inside, so nothing is subtracted or scaled here.
# The embeddings have unit length, so they are not normalised again. Crops are stretched, as in training: keepAspc 0.
ReID:
  reidType: 2                 # 1: NvDeepSORT, 2: re-association in NvDCF, 3: both
  outputReidTensor: 1         # the embeddings of the objects in the metadata
  batchSize: {batch}
  workspaceSize: 1000         # MB, for building the engine
  reidFeatureSize: {dim}
  reidHistorySize: 100
  inferDims: [3, {h}, {w}]
  networkMode: 1              # 0: fp32, 1: fp16
  inputOrder: 0               # NCHW
  colorFormat: 0              # RGB
  offsets: [0.0, 0.0, 0.0]
  netScaleFactor: 1.0
  keepAspc: 0
  addFeatureNormalization: 0
  onnxFile: "{onnx}"
  modelEngineFile: "{onnx}_b{batch}_gpu0_fp16.engine"
"""

NVINFER = """\
# A secondary Gst-nvinfer that gives each detected person an embedding as tensor metadata; start it after the detector.
# {onnx} takes RGB in 0..255: its mean and standard deviation are inside.
[property]
gpu-id=0
onnx-file={onnx}
model-engine-file={onnx}_b{batch}_gpu0_fp16.engine
batch-size={batch}
# 0: fp32, 2: fp16
network-mode=2
# 2: objects of another element; 100: a network whose output is not parsed
process-mode=2
network-type=100
output-tensor-meta=1
# the element that detects, and its class of persons
operate-on-gie-id=1
operate-on-class-ids=0
gie-unique-id=2
infer-dims=3;{h};{w}
# 0: RGB
model-color-format=0
net-scale-factor=1.0
offsets=0.0;0.0;0.0
maintain-aspect-ratio=0
output-blob-names={output}
"""

COMMANDS = """\
# TensorRT 10: an engine of {onnx}.
# Input: {input} (n, 3, {h}, {w}), float32 RGB in 0..255. Output: {output} (n, {dim}).
trtexec --onnx={quoted} --saveEngine={engine} --fp16{shapes}

# Hailo, Dataflow Compiler: mean and standard deviation are inside, so the model script has no normalization().
# calib.npy: crops (n, {h}, {w}, 3), RGB in 0..255, of your cameras; Hailo's own networks use 1024.
# If the parser refuses a layer of the heads, it names end nodes: compile up to there, and run the rest on the host.
hailo parser onnx {quoted} --net-name {net} --hw-arch hailo8{hailo}
hailo optimize {net}.har --hw-arch hailo8 --calib-set-path calib.npy
hailo compiler {net}_optimized.har --hw-arch hailo8
"""


def write_edge_files(
    path: Path, *, size: tuple[int, int], dim: int, batch: int | None, names: tuple[str, str]
) -> tuple[Path, ...]:
    """Write the files beside ``path``, such as ``person.nvtracker.yml``; returns their paths."""
    h, w = size
    most = batch or LARGEST_BATCH
    one = f"{names[0]}:{{n}}x3x{h}x{w}"
    shapes = "".join(
        f" --{kind}Shapes={one.format(n=n)}" for kind, n in (("min", 1), ("opt", min(16, most)), ("max", most))
    )
    values = {
        "onnx": path.name,
        "quoted": shlex.quote(path.name),
        "engine": shlex.quote(path.stem + ".engine"),
        "net": "".join(c if c.isalnum() else "_" for c in path.stem),
        "h": h,
        "w": w,
        "dim": dim,
        "batch": most,
        "input": names[0],
        "output": names[1],
        "shapes": shapes if batch is None else "",
        "hailo": f' --tensor-shapes "{names[0]}=[1,3,{h},{w}]"' if batch is None else "",
    }
    written = []
    for ending, text in ((".nvtracker.yml", TRACKER), (".nvinfer.txt", NVINFER), (".commands.txt", COMMANDS)):
        target = path.with_suffix(ending)
        target.write_text(text.format(**values), encoding="utf-8")
        written.append(target)
    return tuple(written)
