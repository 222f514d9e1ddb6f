"""Training tracklets as a data set: one random clip for each (row, draw) that `PKSampler` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from stmga.data.frame_store import FrameStore
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.utils.text import preview


class TrainingSet(Dataset[dict[str, Any]]):
    """Rows to train on: the tracklets, with long ones cut into pieces of ``dense_step`` frames (D38, D41).

    ``set[row, draw]`` reads one clip of the row, chosen by ``draw``:

    - ``clip``: uint8 ``(t, 3, h, w)``, resized as by :class:`stmga.transforms.ClipTransform` and rounded;
    - ``label``: number of the identity; ``row`` and ``draw``: as asked for.

    :meth:`batch` reads many at once. With ``keep``, frames that were read before come from memory, with the same
    pixels.

    Attributes:
        persons, cameras: the identity of each row, as text, and its camera, for :class:`stmga.data.PKSampler`.
        identities: the distinct identities, sorted as text. labels: for each row, the index of its identity.

    Args:
        tracklets: each with a person.
        length, stride: of a clip, in frames.
        size: height and width of a frame, in pixels.
        dense_step: frames of a piece; 0 does not cut.
        keep: keep decoded frames in memory, for :meth:`batch`; see :class:`stmga.data.frame_store.FrameStore`.
        device, threads: for ``keep``: where frames are kept, and how many are read at the same time.

    Raises:
        ValueError: no tracklets, some without a person or without frames, a number out of its range, or frames to keep
            that do not fit into memory.
        TrackletError: on reading, a frame that cannot be read; it names the tracklet and the file.

    >>> walk = np.zeros((70, 64, 32, 3), np.uint8)
    >>> data = TrainingSet([Tracklet("a", walk, person=7), Tracklet("b", walk, person="9")],
    ...                    length=8, stride=4, size=(128, 64), dense_step=32)
    >>> data.persons, data.labels, data[2, 0]["clip"].shape
    (['7', '7', '9', '9'], [0, 0, 1, 1], torch.Size([8, 3, 128, 64]))
    """

    def __init__(
        self,
        tracklets: Sequence[Tracklet],
        *,
        length: int,
        stride: int,
        size: tuple[int, int],
        dense_step: int = 0,
        keep: bool = False,
        device: torch.device | str = "cpu",
        threads: int = 0,
    ) -> None:
        if min(length, stride, *size) < 1 or dense_step < 0:
            raise ValueError(
                "length, stride and size must be at least 1 and dense_step at least 0, got "
                f"{length}, {stride}, {tuple(size)} and {dense_step}"
            )
        _check_tracklets(tracklets)
        self.tracklets = list(tracklets)
        self.length, self.stride, self.size = length, stride, (int(size[0]), int(size[1]))
        self.pieces = [(i, piece) for i, t in enumerate(tracklets) for piece in cut_pieces(len(t), dense_step)]
        self.persons = [str(self.tracklets[i].person) for i, _ in self.pieces]
        self.cameras = [self.tracklets[i].camera for i, _ in self.pieces]
        self.identities = sorted(set(self.persons))
        labels = {person: label for label, person in enumerate(self.identities)}
        self.labels = [labels[person] for person in self.persons]
        lengths = [len(tracklet) for tracklet in self.tracklets]
        self.store = FrameStore(lengths, self._read, self.size, device=device, threads=threads) if keep else None

    def __len__(self) -> int:
        return len(self.pieces)

    def chosen(self, row: int, draw: int) -> tuple[int, list[int]]:
        """The tracklet of a row, and which of its frames make up the clip of this draw."""
        owner, piece = self.pieces[row]
        picked = train_clip(len(piece), self.length, self.stride, np.random.default_rng(draw))
        return owner, [piece[i] for i in picked]

    def __getitem__(self, index: tuple[int, int]) -> dict[str, Any]:
        row, draw = index
        owner, frames = self.chosen(row, draw)
        distinct = sorted(set(frames))  # a frame that comes twice is read and resized once
        clip = self._read(owner, distinct)[[distinct.index(i) for i in frames]]
        return {"clip": clip, "label": self.labels[row], "draw": draw, "row": row}

    def batch(self, indices: Sequence[tuple[int, int]]) -> dict[str, Tensor]:
        """:func:`collate` of ``[set[index] for index in indices]``; kept frames are on their device."""
        if self.store is None:
            return collate([self[index] for index in indices])
        wanted = [(owner, i) for owner, frames in starmap(self.chosen, indices) for i in frames]
        rows, draws = zip(*indices, strict=True)
        return {
            "clip": self.store(wanted).unflatten(0, (len(indices), self.length)),
            "label": torch.tensor([self.labels[row] for row in rows], dtype=torch.int64, device="cpu"),
            "draw": torch.tensor(draws, dtype=torch.int64, device="cpu"),
            "row": torch.tensor(rows, dtype=torch.int64, device="cpu"),
        }

    def _read(self, owner: int, frames: list[int]) -> Tensor:
        """Distinct frames of a tracklet -> (n, 3, h, w) uint8."""
        tracklet = self.tracklets[owner]
        try:
            return resized(tracklet.load(frames), self.size)
        except TrackletError:
            raise
        except (ValueError, TypeError) as error:
            raise TrackletError(f'tracklet "{tracklet.id}": {error}') from error


def train_clip(frames: int, length: int, stride: int, rng: np.random.Generator) -> list[int]:
    """Frame numbers of one random training clip: ``length`` of ``frames``, ascending (D38).

    - at least ``length * stride`` frames: every ``stride``-th one from a random start, all starts equally likely;
    - fewer, but at least ``length``: ``length`` distinct ones at random;
    - fewer than ``length``: drawn with replacement, so some repeat. This is the padding of training.

    Args:
        frames: how many the tracklet has.
        length, stride: of the clip, in frames; the paper's are 8 and 4.
        rng: source of randomness; the same state gives the same clip.

    Raises:
        ValueError: a number below 1.

    >>> rng = np.random.default_rng(0)
    >>> np.diff(train_clip(100, 5, 8, rng)).tolist(), train_clip(5, 5, 8, rng), set(train_clip(2, 50, 8, rng))
    ([8, 8, 8, 8], [0, 1, 2, 3, 4], {0, 1})
    """
    if min(frames, length, stride) < 1:
        raise ValueError(f"frames, length and stride must be at least 1, got {frames}, {length} and {stride}")
    if frames >= length * stride:
        span = (length - 1) * stride + 1
        start = int(rng.integers(frames - span + 1))
        return list(range(start, start + span, stride))
    if frames >= length:
        return sorted(rng.choice(frames, length, replace=False).tolist())
    return sorted(rng.integers(frames, size=length).tolist())


def cut_pieces(frames: int, step: int) -> list[range]:
    """Cut a long training tracklet into pieces of ``step`` frames (D41); the last piece also takes the rest.

    Every frame is in exactly one piece, and no piece has fewer than ``step`` frames unless the tracklet itself has.
    ``step`` 0 does not cut. Raises ValueError for no frames or a negative step.

    >>> cut_pieces(70, 32), cut_pieces(20, 32), cut_pieces(70, 0)
    ([range(0, 32), range(32, 70)], [range(0, 20)], [range(0, 70)])
    """
    if frames < 1 or step < 0:
        raise ValueError(f"expected at least 1 frame and a step of at least 0 (0: not cut), got {frames} and {step}")
    pieces = max(1, frames // step) if step else 1
    starts = [i * step for i in range(pieces)]
    return [range(start, end) for start, end in zip(starts, [*starts[1:], frames], strict=True)]


def collate(samples: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Items of a `TrainingSet` -> ``clip`` (b, t, 3, h, w) uint8, ``label``, ``draw`` and ``row`` (b,) int64."""
    batch = {
        key: torch.tensor([sample[key] for sample in samples], dtype=torch.int64, device="cpu")
        for key in ("label", "draw", "row")
    }
    return {"clip": torch.stack([sample["clip"] for sample in samples]), **batch}


def resized(frames: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """n frames (3, h, w), uint8 or float in 0..1, each of its own size -> (n, 3, *size) uint8.

    Bicubic and antialiased; frames of that size keep their pixels. Raises ValueError for anything but RGB frames.

    >>> resized([torch.zeros(3, 9, 5, dtype=torch.uint8), torch.ones(3, 8, 4)], (8, 4)).flatten(1).amax(1)
    tensor([  0, 255], dtype=torch.uint8)
    """
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, frame in enumerate(frames):
        if frame.ndim != 3 or frame.shape[0] != 3 or not frame.numel():
            raise ValueError(f"frame of shape {tuple(frame.shape)}, expected (3, h, w): channels first and RGB")
        groups.setdefault((frame.shape, frame.dtype), []).append(i)
    out = torch.empty((len(frames), 3, *size), dtype=torch.uint8, device="cpu")
    for indices in groups.values():
        out[indices] = _resized(torch.stack([frames[i] for i in indices]), size)
    return out


def _resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """(n, 3, h, w) of one size -> (n, 3, *size) uint8."""
    if frames.dtype == torch.uint8 and frames.shape[-2:] == size:
        return frames
    # Contiguous and float, as in ClipTransform: the other kernels round differently.
    x = frames.to(torch.float32, memory_format=torch.contiguous_format)
    if frames.dtype != torch.uint8:
        x = x * 255
    if x.shape[-2:] != size:
        x = F.interpolate(x, size, mode="bicubic", antialias=True).clamp_(0, 255)
    return x.round().to(torch.uint8)


def _check_tracklets(tracklets: Sequence[Tracklet]) -> None:
    if not len(tracklets):
        raise ValueError("no tracklets to train on")
    nobody = [tracklet.id for tracklet in tracklets if tracklet.person is None]
    if nobody:
        raise ValueError(
            f"{len(nobody)} of {len(tracklets)} tracklets have no person: {preview(nobody)}; training needs to know "
            "who each one shows: leave these out, or read them with a layout that names the {person}"
        )
    empty = [tracklet.id for tracklet in tracklets if not len(tracklet)]
    if empty:
        raise ValueError(f"{len(empty)} of {len(tracklets)} tracklets have no frames: {preview(empty)}; leave them out")
