"""The re-identification model that other libraries' trackers call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import copy
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.network import TrackletNetwork
from stmga.trackers.crops import Channels, crops_of, track_ids
from stmga.trackers.recent import RecentCrops
from stmga.tracklets.tracklet import Tracklet

MAX_BYTES = 256 << 20  # of crops that are kept


class Encoder:
    """Boxes of a frame -> one unit vector each, as trackers of other libraries ask for them.

    Two calls, both duck-typed; neither library has to be installed:

    - :meth:`extract_embeddings`, as ``ReIDModel`` of Roboflow's ``reid`` 0.1 has it. ``extract_features`` is the same
      method by the name that ``reid`` had before, and that drafts of ``ReIDEncoder`` in its ``trackers`` call;
    - :meth:`get_features`: the ``reid_model`` of boxmot's trackers.

    The vectors are those of :class:`stmga.TrackletEmbedder` for the same crops. With ``clip=1`` every box is a tracklet
    of one frame. With ``clip=8`` a box of a track is embedded together with the seven crops before it in that track, as
    one tracklet. That needs track ids, so it is for the boxes that a tracker returns; inside its association, where
    boxes have no track yet, use ``clip=1``. The network computes each crop once, so a box with seven crops before it
    costs about as much as eight alone.

    The weights are read once, when the encoder is made: after a change of the model, make another encoder.

    Args:
        model: a network, or a :class:`stmga.TrackletEmbedder` for a device, a precision or a batch size of your choice.
        channels: the order of the frames' channels. OpenCV, and so ``supervision`` and boxmot, read "bgr".
        clip: how many crops of a track are embedded together.
        max_bytes: of the crops that are kept. Beyond it, the tracks that were not seen for longest are forgotten.

    Raises:
        ValueError: another order of channels, ``clip`` or ``max_bytes`` below 1, or an embedder that skips faults or
            has worker processes, which a frame at a time is not for.

    >>> from stmga import STMGA, STMGAConfig
    >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32)))
    >>> encoder, frame = Encoder(model), np.zeros((120, 160, 3), np.uint8)
    >>> encoder.get_features(np.array([[10, 10, 40, 100], [60, 20, 90, 110]]), frame).shape
    (2, 256)
    """

    def __init__(
        self,
        model: TrackletNetwork | TrackletEmbedder,
        *,
        channels: Channels = "bgr",
        clip: int = 1,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        if channels not in get_args(Channels):
            raise ValueError(f'channels must be "bgr" or "rgb", got {channels!r}')
        for name, value in (("clip", clip), ("max_bytes", max_bytes)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be an integer >= 1, got {value!r}")
        # A copy, so that fixing the weights below does not fix those of the caller's embedder.
        self.embedder = copy(model) if isinstance(model, TrackletEmbedder) else TrackletEmbedder(model)
        if self.embedder.on_error != "raise" or self.embedder.workers:
            raise ValueError('an encoder needs an embedder with on_error="raise" and workers=0')
        self.channels, self.clip = channels, clip
        self._recent = RecentCrops(clip, max_bytes)
        self._fixed = ExitStack()  # never closed: the digest of the weights is computed once, not for every frame
        self._fixed.enter_context(self.embedder.fixed_weights())

    def __repr__(self) -> str:
        return f"Encoder({self.embedder!r}, channels={self.channels}, clip={self.clip})"

    @property
    def embedding_dim(self) -> int:
        """c, the length of a vector; boxmot reads it by this name."""
        return self.embedder.model.dim

    def extract_embeddings(self, detections: Any, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Vectors ``(n, c)`` float32 of unit length, in the order of the detections.

        Args:
            detections: ``supervision.Detections``, or anything with ``xyxy`` ``(n, 4)``; for ``clip`` above 1 also with
                ``tracker_id`` ``(n,)``.
            frame: ``(h, w, 3)`` uint8, channels as the encoder was told.

        Raises:
            TypeError, ValueError: as :meth:`get_features`.
        """
        if not hasattr(detections, "xyxy"):
            raise TypeError(
                f"detections must have xyxy, as supervision.Detections, got {type(detections).__name__}; "
                "for an array of boxes use get_features"
            )
        return self.get_features(detections.xyxy, frame, getattr(detections, "tracker_id", None))

    extract_features = extract_embeddings

    def get_features(self, boxes: Any, frame: NDArray[np.uint8], ids: Any = None) -> NDArray[np.float32]:
        """Vectors ``(n, c)`` float32 of unit length, in the order of the boxes.

        A box that is partly outside the frame is clipped. With ``clip`` above 1, a box with a negative id belongs to no
        track and is embedded alone.

        Args:
            boxes: ``(n, 4)`` as x1, y1, x2, y2 in pixels; none give ``(0, c)``.
            frame: ``(h, w, 3)`` uint8, channels as the encoder was told.
            ids: the track of each box ``(n,)``; only for ``clip`` above 1.

        Raises:
            TypeError: a frame that is not an array of uint8.
            ValueError: a grey or empty frame; a box that is not finite, has no area or is wholly outside the frame; ids
                that are missing, not whole numbers, or the same for two boxes.
        """
        crops = crops_of(boxes, frame, self.channels)
        if not crops:
            return np.zeros((0, self.embedding_dim), np.float32)
        clips = [[crop] for crop in crops] if self.clip == 1 else self._clips(crops, ids)
        tracklets = [Tracklet(f"box {i}", clip) for i, clip in enumerate(clips)]
        return self.embedder.embed(tracklets).vectors.numpy()

    def _clips(self, crops: Sequence[Tensor], ids: Any) -> list[list[Tensor]]:
        """The last crops of the track of each box, with its own."""
        if ids is None:
            raise ValueError(
                f"these boxes have no track ids, which an encoder with clip={self.clip} needs: pass what the tracker "
                "returns, with tracker_id, or use clip=1"
            )
        tracks = track_ids(ids, len(crops))
        clips = [
            self._recent.add(track, crop) if track >= 0 else [crop] for track, crop in zip(tracks, crops, strict=True)
        ]
        self._recent.trim(sum(track >= 0 for track in tracks))
        return clips

    def embeddings(self, vectors: Mapping[Any, NDArray[np.float32]]) -> Embeddings:
        """Vectors ``(c)`` of this encoder by track, as embeddings with the weights' digest and calibration.

        For :func:`stmga.trackers.stitch`, or to search for the tracks in a gallery.
        """
        record, digest = self.embedder.model.record, self.embedder.digest()
        known = record.calibration if record else None
        rows = [np.asarray(vector, np.float32) for vector in vectors.values()]
        return Embeddings(
            torch.from_numpy(np.stack(rows) if rows else np.zeros((0, self.embedding_dim), np.float32)),
            [{"tracklet": _name(track)} for track in vectors],
            digest=digest,
            model=record.name if record else "",
            calibration=known if known and known.digest == digest else None,
        )

    def reset(self) -> None:
        """Forget all tracks, as at the beginning of another video, whose track ids mean other people."""
        self._recent.clear()


def _name(track: Any) -> str:
    """The id of a track as text; 7.0, as boxmot's arrays have it, is 7."""
    return str(int(track)) if isinstance(track, (float, np.floating)) and track % 1 == 0 else str(track)
