"""Distillation: a trained network's vectors of every training frame, computed once, from which smaller ones learn."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from stmga._version import __version__
from stmga.embedding.embedder import Precision, TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.resumable import embed_in_pieces
from stmga.model import STMGA
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.tracklet import Tracklet
from stmga.train.network import with_input
from stmga.train.run_folder import tracklets_digest
from stmga.utils.distributed import World
from stmga.utils.files import atomic_path
from stmga.utils.foreign import escaped, open_regular, parse_json, shown, unprintable

logger = logging.getLogger(__name__)

FORMAT = 1
TOLERANCE = 0.01  # of a length, in float16
_KEY = "stmga-teacher"
_COMMAND = "`stmga teacher WEIGHTS` with the data options of `stmga train` writes one"


class TeacherError(ValueError):
    """A teacher's file that is damaged, of another format, or of other tracklets."""


def teacher_vectors(
    model: STMGA,
    tracklets: Sequence[Tracklet],
    path: str | Path,
    *,
    weights: str = "",
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    batch_size: int | None = None,
    workers: int = 0,
    progress: bool = False,
    world: World | None = None,
    trust_content: bool = False,
) -> None:
    """Write the vectors of ``model`` for every frame of ``tracklets``, as clips of one frame, plain and mirrored.

    The file is written whole or not at all. Finished pieces are kept in ``path.parts/`` until then: after a kill the
    same call resumes. It has the tensors ``plain`` and ``mirrored``, each (frames, d) float16, with rows of unit length
    in the order of the tracklets. JSON metadata identifies the network and the tracklets.

    Args:
        model: the teacher. It reads frames at its own size.
        tracklets: those that a student will train on; ids must be unique.
        path: a safetensors file.
        weights: the teacher's name; default: the name in its record.
        device, precision, batch_size, workers, progress: as for :class:`stmga.TrackletEmbedder`.
        world: the processes that share the work.
        trust_content: record the contents of the image files and compare them on resuming, instead of their paths,
            sizes and modification times.

    Raises:
        PiecesError: ``path.parts/`` holds the pieces of another teacher, or of other tracklets or images.
        OutputBusyError: another process writes the file.
        TrackletError: a frame that cannot be read.
        OSError: the file cannot be written; an old one is untouched.
    """
    single = with_input(model, clip_length=1)
    single.fused_from = digest = model.digest()  # its digest stays that of the original
    embedder = TrackletEmbedder(
        single, device=device, precision=precision, batch_size=batch_size, workers=workers, progress=progress
    )
    frames = [*_frames(tracklets, mirrored=False), *_frames(tracklets, mirrored=True)]
    record = model.record
    about = {
        "weights": weights or (record.name if record else "") or "unnamed weights",
        "digest": digest,
        "size": list(model.config.size),
        "terms": record.terms if record else "",
        "data": _data(tracklets),
    }

    def write(found: Embeddings, out: Path) -> None:
        record = InputRecord(tracklets, contents=trust_content)
        _write(found, out, about | {"inputs": record.to_bytes().decode()})

    embed_in_pieces(embedder, frames, path, world, trust_content=trust_content, source=tracklets, write=write)


class Teacher:
    """Clips, given by frame numbers -> (b, d) float32 of unit length: the mean of the teacher's vectors of the frames.

    Args:
        path: a file of :func:`teacher_vectors`.
        tracklets: those that the student trains on.
        trust_content: compare the contents of image files, instead of their paths, sizes and modification times.

    Attributes:
        weights, terms: the teacher's name, and the terms of its weights.

    Raises:
        FileNotFoundError: no such file.
        TeacherError: it is damaged, of another format, or of other tracklets.

    >>> import tempfile
    >>> from stmga.config import STMGAConfig
    >>> walk = Tracklet("a", np.zeros((5, 64, 32, 3), np.uint8), person=7)
    >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     teacher_vectors(model, [walk], f"{folder}/teacher.safetensors")
    ...     teacher = Teacher(f"{folder}/teacher.safetensors", [walk])
    >>> teacher([(0, [0, 2, 4]), (0, [1])], mirrored=[False, True]).shape
    torch.Size([2, 256])
    """

    def __init__(self, path: str | Path, tracklets: Sequence[Tracklet], *, trust_content: bool = False) -> None:
        self._about, self._plain, self._mirrored = _read_vectors(Path(path))
        known, asked = self._about["data"], _data(tracklets)
        if known != asked:
            raise TeacherError(
                f"{path} holds vectors of other tracklets than those to train on: {_counts(known)}, to train on are "
                f"{_counts(asked)}. It must be written with the same data options: {_COMMAND}"
            )
        self._check_inputs(path, InputRecord(tracklets, contents=trust_content))
        self._starts = np.cumsum([0, *map(len, tracklets)])
        self.weights: str = self._about["weights"]
        self.terms: str = self._about["terms"]

    def _check_inputs(self, path: str | Path, inputs: InputRecord) -> None:
        """Raise TeacherError if an image has changed since the teacher saw it."""
        if "inputs" not in self._about:
            logger.warning("%s has no record of its image files: whether they changed is unknown", path)
        elif found := inputs.difference(self._about["inputs"].encode()):
            raise TeacherError(
                f"{path} holds vectors of other images: {found}. Write it again ({_COMMAND}); of files that are only "
                "copied, trust_content=True compares the contents, in a teacher's file that was written with it"
            )

    def __call__(self, clips: Iterable[tuple[int, Sequence[int]]], mirrored: Iterable[bool]) -> Tensor:
        """b clips, each the number of a tracklet and of frames in it, and whether each is mirrored -> (b, d)."""
        means = []
        for (owner, frames), flipped in zip(clips, mirrored, strict=True):
            vectors = self._mirrored if flipped else self._plain
            means.append(
                vectors[torch.as_tensor(frames, dtype=torch.int64, device=vectors.device) + int(self._starts[owner])]
                .float()
                .mean(0)
            )
        return F.normalize(torch.stack(means), dim=1)

    def directions(self, dim: int) -> Tensor:
        """(d k), the orthonormal main directions of the vectors, as many as they have but at most ``dim``.

        Logs how much of the vectors' squared length lies in them, if not all.
        """
        vectors = self._plain.float()
        values, basis = torch.linalg.eigh(vectors.T @ vectors)  # in ascending order
        if len(values) > dim:
            share = float(values[-dim:].sum() / values.sum())
            logger.info("%d of the teacher's %d dimensions hold %.1f %% of its vectors", dim, len(values), 100 * share)
        return basis[:, -dim:]

    def about(self) -> dict[str, Any]:
        """What identifies the teacher in a run's settings, as plain JSON values."""
        return {key: self._about[key] for key in ("weights", "digest", "size", "vectors")}


@dataclass(frozen=True, eq=False)
class _SingleFrame(Tracklet):
    """One frame of a tracklet as a tracklet, plain or mirrored."""

    mirrored: bool = False

    def load(self, indices: Iterable[int] | None = None) -> list[Tensor]:
        frames = super().load(indices)
        return [frame.flip(-1) for frame in frames] if self.mirrored else frames


def _frames(tracklets: Sequence[Tracklet], *, mirrored: bool) -> Iterable[Tracklet]:
    for tracklet in tracklets:
        for i in range(len(tracklet)):
            name = f"{tracklet.id}, frame {i}{', mirrored' if mirrored else ''}"
            frame = _SingleFrame(name, tracklet.frames[i : i + 1], mirrored=mirrored)
            yield frame.as_checked() if tracklet.checked else frame


def _data(tracklets: Sequence[Tracklet]) -> dict[str, Any]:
    return {
        "tracklets": len(tracklets),
        "frames": sum(map(len, tracklets)),
        "persons": len({str(tracklet.person) for tracklet in tracklets}),
        "digest": tracklets_digest(tracklets),
    }


def _counts(data: dict[str, Any]) -> str:
    counts = f"{data['tracklets']:,} tracklets of {data['persons']:,} persons with {data['frames']:,} frames"
    return f"{counts} (digest {data['digest']})"


def _write(found: Embeddings, path: Path, about: dict[str, Any]) -> None:
    plain, mirrored = (half.contiguous() for half in found.vectors.half().chunk(2))
    known = {"format": FORMAT, "stmga": __version__, **about, "vectors": _digest(plain, mirrored)}
    with atomic_path(path) as temp:
        try:
            save_file({"plain": plain, "mirrored": mirrored}, temp, {_KEY: json.dumps(known)})
        except SafetensorError as error:  # an error of the disk, as safetensors reports it
            raise OSError(str(error)) from error


def _read_vectors(path: Path) -> tuple[dict[str, Any], Tensor, Tensor]:
    """The metadata of the file, and the vectors of plain and mirrored frames."""
    if not path.exists():
        raise FileNotFoundError(f"there is no teacher's file {path}; {_COMMAND}")
    wrong = f"{path} is damaged or not a teacher's file"
    try:
        open_regular(path).close()  # a pipe or a device would hang
        with safe_open(path, framework="pt") as file:
            about = parse_json((file.metadata() or {})[_KEY])
            if about["format"] != FORMAT:
                writer = escaped(str(about["stmga"]), 40)
                raise TeacherError(
                    f"{path} has format {shown(about['format'], 20)}, written by stmga {writer}; "
                    f"this is stmga {__version__}, which reads format {FORMAT}. Write it again: {_COMMAND}"
                )
            plain, mirrored = file.get_tensor("plain"), file.get_tensor("mirrored")
        _check_about(about)
        _check_vectors(plain, mirrored, about["data"]["frames"])
        intact = about["vectors"] == _digest(plain, mirrored)
    except TeacherError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise TeacherError(f"{wrong} ({escaped(str(error), 200)}); {_COMMAND}") from error
    if not intact:
        raise TeacherError(f"{wrong} (its vectors are not those that were written); {_COMMAND}")
    return about, plain, mirrored


def _check_about(about: Mapping[str, Any]) -> None:
    """Raise ValueError unless a file says of itself what :func:`teacher_vectors` writes."""
    texts = {key: about[key] for key in ("weights", "digest", "terms", "vectors")} | {"inputs": about.get("inputs", "")}
    for key, value in texts.items():
        if not isinstance(value, str) or (bad := unprintable(value)):
            raise ValueError(f"its {key} is {shown(value)}" if not isinstance(value, str) else f"its {key} holds {bad}")
    if not isinstance(about["size"], list) or not all(type(n) is int for n in about["size"]):
        raise ValueError(f"its size is {shown(about['size'])}")
    counts = {key: about["data"][key] for key in ("tracklets", "persons", "frames")}
    if not all(type(n) is int for n in counts.values()) or not isinstance(about["data"]["digest"], str):
        raise ValueError(f"its data are {shown(about['data'])}")


def _check_vectors(plain: Tensor, mirrored: Tensor, frames: int) -> None:
    """Raise ValueError unless there is a vector of unit length for each frame, plain and mirrored."""
    for name, found in (("plain", plain), ("mirrored", mirrored)):
        if found.dtype != torch.float16 or found.ndim != 2 or found.shape != plain.shape or len(found) != frames:
            raise ValueError(f"{name} is {found.dtype} of shape {tuple(found.shape)}, expected float16 ({frames}, d)")
        if len(found) and not bool(((found.float().norm(dim=1) - 1).abs() < TOLERANCE).all()):
            raise ValueError(f"{name} holds vectors whose length is not 1")


def _digest(*tensors: Tensor) -> str:
    """A digest of the values, 16 hex digits."""
    total = hashlib.sha256()
    for tensor in tensors:
        total.update(tensor.numpy().data.cast("B"))
    return total.hexdigest()[:16]
