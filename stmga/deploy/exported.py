"""Exported files, run like the network they were made from."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stmga.config import STMGAConfig
from stmga.hub.records import WeightRecord
from stmga.transforms import ClipTransform

FORMAT = "stmga-export"
FORMAT_VERSION = 1
METADATA = "stmga"  # the name of what the file says of itself
RUNTIMES = {".pt2": ("torch",), ".onnx": ("onnxruntime", "openvino")}

Run = Callable[[Tensor], tuple[Tensor, Tensor]]


class ExportedModel:
    """(b t 3 h w) -> (b c) of unit length: a file of :func:`stmga.export`, on the CPU.

    It has what :class:`stmga.TrackletEmbedder` asks of a network: ``TrackletEmbedder(ExportedModel("model.onnx"))``.

    Args:
        path: a ``.pt2`` or ``.onnx`` file.
        runtime: ``"torch"`` runs ``.pt2``; ``"onnxruntime"`` or ``"openvino"`` run ``.onnx``. None is the first that is
            installed.
        providers: of ONNX Runtime, as ``["CUDAExecutionProvider"]``; None is its CPU.

    Attributes:
        config, record: of the network that it was made from. digest(): of its weights.
        frames: (height, width) of the uint8 frames it takes, where preprocessing is inside; else None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: no exported file of stmga, or a runtime that does not run it.
        ImportError: the runtime is not installed.
    """

    device = torch.device("cpu")

    def __init__(
        self, path: str | os.PathLike[str], *, runtime: str | None = None, providers: Sequence[str] | None = None
    ) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no exported file {self.path}")
        fitting = RUNTIMES[suffix_of(self.path)]
        self.runtime = runtime or next(iter(self.runtimes(self.path)), fitting[0])
        if self.runtime not in fitting:
            raise ValueError(f"{self.path} runs in {' or '.join(fitting)}, not in {runtime!r}")
        if providers is not None and self.runtime != "onnxruntime":
            raise ValueError(f"providers are of onnxruntime, and {self.path} runs in {self.runtime}")
        try:
            self._run, text = _LOADERS[self.runtime](self.path, providers)
        except ImportError as error:
            extra = "openvino" if self.runtime == "openvino" else "onnx"
            raise ImportError(f"{self.path} needs {self.runtime}: pip install 'stmga[{extra}]'") from error
        except Exception as error:  # each runtime has errors of its own
            raise ValueError(f"{_wrong(self.path)}, got a damaged or foreign file ({_first_line(error)})") from error
        self.config, self.record, self.frames, self._digest = _told(self.path, text)
        self.dim = self.encode(torch.zeros(1, 1, 3, *(self.frames or self.config.size)).to(self._dtype)).shape[-1]

    @classmethod
    def runtimes(cls, path: str | os.PathLike[str]) -> list[str]:
        """The runtimes that are installed here and run such a file."""
        return [name for name in RUNTIMES[suffix_of(path)] if find_spec(name) is not None]

    def __repr__(self) -> str:
        name = self.record.name if self.record is not None else ""
        return f"ExportedModel({str(self.path)!r}, runtime={self.runtime!r}, weights={name or 'unnamed'!r})"

    def __call__(self, clips: Tensor) -> Tensor:
        return self._checked(clips)[0]

    def encode(self, clips: Tensor) -> Tensor:
        """(b t 3 h w) -> (b c), after the BN neck: a long tracklet's is the mean over its clips."""
        return self._checked(clips)[1]

    def forward_head(self, z: Tensor) -> Tensor:
        """(b c) -> (b c) of unit length; the BN neck is in the file, and keeps a mean a mean."""
        return F.normalize(z, dim=-1)

    def digest(self) -> str:
        """Of the network that it was made from: their embeddings compare."""
        return self._digest

    @property
    def transform(self) -> ClipTransform | FixedSizeFrames:
        """What a tracklet's frames go through before they come here."""
        return ClipTransform.from_config(self.config) if self.frames is None else FixedSizeFrames(self.frames)

    @property
    def _dtype(self) -> torch.dtype:
        return torch.float32 if self.frames is None else torch.uint8

    def _checked(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        h, w = self.frames or self.config.size
        if clips.ndim != 5 or clips.shape[2:] != (3, h, w) or 0 in clips.shape or clips.dtype != self._dtype:
            raise ValueError(
                f"{self.path} takes {str(self._dtype).removeprefix('torch.')} clips (b, t, 3, {h}, {w}), got "
                f"{str(clips.dtype).removeprefix('torch.')} {tuple(clips.shape)}; for frames of another size export "
                "it again with --frames HEIGHT WIDTH, or without preprocessing"
            )
        return self._run(clips)


class FixedSizeFrames:
    """A clip of uint8 frames (t 3 h w), which must have the size that an exported file takes."""

    def __init__(self, size: Sequence[int]) -> None:
        self.size = tuple(size)

    def __call__(self, frames: Sequence[Tensor]) -> Tensor:
        for frame in frames:
            if frame.dtype != torch.uint8 or frame.shape[-2:] != self.size:
                raise ValueError(
                    f"a frame is {str(frame.dtype).removeprefix('torch.')} of {tuple(frame.shape[-2:])} (height, "
                    f"width), the exported file takes uint8 of {self.size}; export it with --frames of that size"
                )
        return torch.stack(list(frames))


def suffix_of(path: str | os.PathLike[str]) -> str:
    """``".pt2"`` or ``".onnx"``; a file that is being written ends in ``.tmp``."""
    suffix = next((s for s in RUNTIMES if s in Path(path).suffixes), "")
    if not suffix:
        raise ValueError(f"an exported file ends in {' or '.join(RUNTIMES)}, got {path}")
    return suffix


class ExportHeader(NamedTuple):
    """What an exported file says of itself."""

    config: STMGAConfig
    record: WeightRecord | None
    frames: tuple[int, int] | None
    digest: str


def _told(path: Path, text: str) -> ExportHeader:
    try:
        about = json.loads(text or "null")
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise ValueError(f"{_wrong(path)}: it does not say what it is")
        if about["format_version"] > FORMAT_VERSION:
            raise ValueError(f"{path} comes from the newer stmga {about['stmga']}")
        config = STMGAConfig.from_dict(about["config"], written_by=about["stmga"])
        record, frames = about["record"], about["frames"]
        return ExportHeader(
            config,
            WeightRecord.from_json(json.dumps(record)) if record is not None else None,
            (int(frames[0]), int(frames[1])) if frames is not None else None,
            str(about["digest"]),
        )
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f"{_wrong(path)}, got one that is not whole ({error!r})") from error


def _wrong(path: Path) -> str:
    return f"{path} is not an exported file; expected one written by `stmga export`"


def _torch(path: Path, providers: Sequence[str] | None) -> tuple[Run, str]:
    texts = {METADATA: ""}
    with open(path, "rb") as file:
        program = torch.export.load(file, extra_files=texts)
    network = program.module()

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            embedding, feature = network(clips)
        return embedding, feature

    return run, texts[METADATA]


def _onnxruntime(path: Path, providers: Sequence[str] | None) -> tuple[Run, str]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=list(providers or ["CPUExecutionProvider"]))

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        embedding, feature = session.run(["embedding", "feature"], {"clips": clips.numpy()})
        return torch.from_numpy(embedding), torch.from_numpy(feature)

    return run, session.get_modelmeta().custom_metadata_map.get(METADATA, "")


def _openvino(path: Path, providers: Sequence[str] | None) -> tuple[Run, str]:
    import onnx
    import openvino

    about = {p.key: p.value for p in onnx.load(path, load_external_data=False).metadata_props}
    config: dict[str, Any] = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", config)

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        found = compiled(clips.numpy())
        return torch.from_numpy(found["embedding"].copy()), torch.from_numpy(found["feature"].copy())

    return run, about.get(METADATA, "")


_LOADERS: dict[str, Callable[[Path, Sequence[str] | None], tuple[Run, str]]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200] or type(error).__name__
