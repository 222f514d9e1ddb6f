"""Exported files, run like the network they were made from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stmga.deploy.header import METADATA, HeaderError, not_exported, read_header
from stmga.deploy.onnx_file import OnnxFile
from stmga.deploy.openvino_file import OpenvinoFile, WeightsFileError
from stmga.deploy.program import Archive, CannotRebuildError
from stmga.deploy.runtimes import LOADERS, RUNTIMES, suffix_of
from stmga.transforms import ClipTransform
from stmga.utils.foreign import reason_of


class ExportedModel:
    """(b t 3 h w) -> (b c) of unit length: a file of :func:`stmga.export`, on the CPU.

    It is a :class:`stmga.embedding.TrackletNetwork`: ``TrackletEmbedder(ExportedModel("model.onnx"))``.

    Args:
        path: a ``.pt2``, ``.onnx`` or ``.xml`` file; the weights of an ``.xml`` are in a ``.bin`` beside it.
        runtime: ``"torch"`` runs ``.pt2``; ``"onnxruntime"`` or ``"openvino"`` run ``.onnx``; ``"openvino"`` runs
            ``.xml``. None takes the first that is installed.
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
            source = _open(self.path)
            header = read_header(self.path, source.header)  # before anything else in the file is read
            if not trust:
                source.check()
            self._halves = LOADERS[self.runtime](self.path, source, header, providers, trust)
        except (HeaderError, CannotRebuildError, WeightsFileError):
            raise
        except ImportError as error:
            extra = "openvino" if self.runtime == "openvino" else "onnx"
            raise ImportError(f"{self.path} needs {self.runtime}: pip install 'stmga[{extra}]'") from error
        except Exception as error:  # each runtime has errors of its own
            raise ValueError(f"{not_exported(self.path)}, got a damaged or foreign file: {reason_of(error)}") from error
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
        return self._run(clips)[0]

    def encode(self, clips: Tensor) -> Tensor:
        """(b t 3 h w) -> (b c), after the BN neck; a long tracklet is the mean over its clips."""
        return self._run(clips)[1]

    def encode_frames(self, frames: Tensor) -> Tensor:
        """(n 3 h w) -> (n p c), of each frame alone; a file without halves, such as an older one, returns the frames.

        Raises:
            ValueError: frames of another size or type than the file takes.
        """
        self._check(frames, "frames (n")
        return self._halves.frames(frames)

    def encode_clips(self, features: Tensor) -> Tensor:
        """(b t ...), what :meth:`encode_frames` gives -> (b c), after the BN neck."""
        return self._halves.clips(features)[1]

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

    def _run(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        self._check(clips, "clips (b, t")
        features = self._halves.frames(clips.flatten(0, 1))
        return self._halves.clips(features.unflatten(0, clips.shape[:2]))

    def _check(self, x: Tensor, expected: str) -> None:
        """`expected`: the name and the first axes."""
        shape = (3, *(self.frames or self.config.size))
        if x.ndim != expected.count(",") + 4 or x.shape[-3:] != shape or 0 in x.shape or x.dtype != self._dtype:
            takes, got = (str(dtype).removeprefix("torch.") for dtype in (self._dtype, x.dtype))
            raise ValueError(
                f"{self.path} takes {takes} {expected}, {', '.join(map(str, shape))}), got {got} {tuple(x.shape)}; for "
                "frames of another size export it again with --frames HEIGHT WIDTH, or without preprocessing"
            )


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


def _open(path: Path) -> Archive | OnnxFile | OpenvinoFile:
    suffix = suffix_of(path)
    if suffix == ".pt2":
        return Archive(path)
    return OnnxFile(path, METADATA) if suffix == ".onnx" else OpenvinoFile(path, METADATA)
