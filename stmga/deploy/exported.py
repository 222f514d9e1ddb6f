"""Exported files, run like the network they were made from."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from stmga.config import STMGAConfig
from stmga.deploy.onnx_file import OnnxFile
from stmga.deploy.program import Archive, CannotRebuildError, rebuilt
from stmga.hub.records import WeightRecord
from stmga.transforms import ClipTransform
from stmga.utils.foreign import escaped, parse_json

FORMAT = "stmga-export"
FORMAT_VERSION = 1
LARGEST_FRAME = 8192  # largest height and width of the frames that a file with preprocessing takes
METADATA = "stmga"  # key of the header in the file's metadata
RUNTIMES = {".pt2": ("torch",), ".onnx": ("onnxruntime", "openvino")}

Run = Callable[[Tensor], tuple[Tensor, Tensor]]


class ExportedModel:
    """(b t 3 h w) -> (b c) of unit length: a file of :func:`stmga.export`, on the CPU.

    It is a :class:`stmga.embedding.TrackletNetwork`: ``TrackletEmbedder(ExportedModel("model.onnx"))``.

    Args:
        path: a ``.pt2`` or ``.onnx`` file.
        runtime: ``"torch"`` runs ``.pt2``; ``"onnxruntime"`` or ``"openvino"`` run ``.onnx``. None takes the first that
            is installed.
        providers: of ONNX Runtime, such as ``["CUDAExecutionProvider"]``; None is its CPU provider.
        trust: run the program in a ``.pt2`` file. Whoever wrote the file decides what runs, so use it only for your own
            files. False builds the network from the file's configuration and parameters: the embeddings are the same,
            and no code from the file runs.

    Attributes:
        config, record: of the network that it was made from. digest(): of its weights.
        frames: (height, width) of the uint8 frames it takes, where preprocessing is inside; else None.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an exported file of stmga, one that could run code or read other files, or a runtime that cannot
            run it.
        ImportError: the runtime is not installed.
    """

    device = torch.device("cpu")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        runtime: str | None = None,
        providers: Sequence[str] | None = None,
        trust: bool = False,
    ) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise FileNotFoundError(f"no exported file {self.path}")
        fitting = RUNTIMES[suffix_of(self.path)]
        self.runtime = runtime or next(iter(self.runtimes(self.path)), fitting[0])
        if self.runtime not in fitting:
            raise ValueError(f"{self.path} runs in {' or '.join(fitting)}, not in {runtime!r}")
        if providers is not None and self.runtime != "onnxruntime":
            raise ValueError(f"providers are of onnxruntime, and {self.path} runs in {self.runtime}")
        try:
            source = Archive(self.path) if self.runtime == "torch" else OnnxFile(self.path, METADATA)
            header = _header(self.path, source.header)  # before anything else in the file is read
            if not trust:
                source.check()
            self._run = _LOADERS[self.runtime](self.path, source, header, providers, trust)
        except (_HeaderError, CannotRebuildError):
            raise
        except ImportError as error:
            extra = "openvino" if self.runtime == "openvino" else "onnx"
            raise ImportError(f"{self.path} needs {self.runtime}: pip install 'stmga[{extra}]'") from error
        except Exception as error:  # each runtime has errors of its own
            raise ValueError(f"{_wrong(self.path)}, got a damaged or foreign file: {_first_line(error)}") from error
        self.config, self.record, self.frames, self._digest = header
        one = torch.zeros(1, 1, 3, *(self.frames or self.config.size), dtype=self._dtype, device="cpu")
        self.dim = self.encode(one).shape[-1]

    @classmethod
    def runtimes(cls, path: str | os.PathLike[str]) -> list[str]:
        """The installed runtimes that can run such a file."""
        return [name for name in RUNTIMES[suffix_of(path)] if find_spec(name) is not None]

    def __repr__(self) -> str:
        name = self.record.name if self.record is not None else ""
        return f"ExportedModel({str(self.path)!r}, runtime={self.runtime!r}, weights={name or 'unnamed'!r})"

    def __call__(self, clips: Tensor) -> Tensor:
        return self._checked(clips)[0]

    def encode(self, clips: Tensor) -> Tensor:
        """(b t 3 h w) -> (b c), after the BN neck; a long tracklet is the mean over its clips."""
        return self._checked(clips)[1]

    def forward_head(self, z: Tensor) -> Tensor:
        """(b c) -> (b c) of unit length. The BN neck is in the file; it is linear, so the mean may come after it."""
        return F.normalize(z, dim=-1)

    def digest(self) -> str:
        """The digest of the network that it was made from, since their embeddings can be compared."""
        return self._digest

    def to(self, device: Any) -> ExportedModel:
        """Itself: a file computes only on the CPU. Raises ValueError for another device."""
        if torch.device(device) != self.device:
            raise ValueError(f"an exported file computes as it was written, on the {self.device}: {self}")
        return self

    def check_inference(self, *, precision: str, compile: bool) -> None:  # noqa: A002 - its name in torch
        """Raise ValueError for anything but uncompiled fp32, in which the file was written."""
        if compile or precision != "fp32":
            raise ValueError(f"an exported file computes as it was written, on the {self.device}: {self}")

    def for_inference(self, *, precision: str = "fp32", compile: bool = False, digest: str = "") -> ExportedModel:  # noqa: A002
        """Itself."""
        return self

    @property
    def clip_length(self) -> int:
        """Frames in a clip."""
        return self.config.clip_length

    @property
    def transform(self) -> ClipTransform | FixedSizeFrames:
        """The preprocessing of a tracklet's frames."""
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
    """The header of an exported file: its configuration, record and digest."""

    config: STMGAConfig
    record: WeightRecord | None
    frames: tuple[int, int] | None
    digest: str


class _HeaderError(ValueError):
    """The file's header was not written by `stmga export`."""


def _header(path: Path, text: str) -> ExportHeader:
    try:
        about = parse_json(text or "null")
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise _HeaderError(f"{_wrong(path)}: it does not say what it is")
        writer = escaped(str(about["stmga"]), 40)
        if type(about["format_version"]) is not int or about["format_version"] > FORMAT_VERSION:
            raise _HeaderError(f"{path} comes from the newer stmga {writer}")
        config = STMGAConfig.from_dict(about["config"], written_by=writer)
        record, frames, digest = about["record"], about["frames"], about["digest"]
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError("its digest is no sha256")
        if frames is not None and not (
            len(frames) == 2 and all(type(n) is int and 1 <= n <= LARGEST_FRAME for n in frames)
        ):
            raise ValueError("its frames are no (height, width)")
        return ExportHeader(
            config,
            WeightRecord.from_json(json.dumps(record)) if record is not None else None,
            (frames[0], frames[1]) if frames is not None else None,
            digest,
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, _HeaderError):
            raise
        raise _HeaderError(f"{_wrong(path)}, got one that is not whole ({escaped(repr(error), 300)})") from error


def _wrong(path: Path) -> str:
    return f"{path} is not an exported file; expected one written by `stmga export`"


def _torch(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Run:
    if trust:
        with open(path, "rb") as file:
            network: Any = torch.export.load(file).module()
    else:
        network = rebuilt(source, header.config, header.frames)

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            embedding, feature = network(clips)
        return embedding, feature

    return run


def _onnxruntime(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(source.data, options, providers=list(providers or ["CPUExecutionProvider"]))

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        embedding, feature = session.run(["embedding", "feature"], {"clips": clips.numpy()})
        return torch.from_numpy(embedding), torch.from_numpy(feature)

    return run


def _openvino(path: Path, source: Any, header: ExportHeader, providers: Sequence[str] | None, trust: bool) -> Run:
    import openvino

    config: dict[str, Any] = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "f32"}
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(source.data), "CPU", config)

    def run(clips: Tensor) -> tuple[Tensor, Tensor]:
        found = compiled(clips.numpy())
        return torch.from_numpy(found["embedding"].copy()), torch.from_numpy(found["feature"].copy())

    return run


_LOADERS: dict[str, Callable[[Path, Any, ExportHeader, Sequence[str] | None, bool], Run]] = {
    "torch": _torch,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def _first_line(error: Exception) -> str:
    return escaped(str(error).strip().split("\n")[0], 300) or type(error).__name__
