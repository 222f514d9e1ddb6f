"""Stitching: the pieces into which a tracker has cut one person's stay become one track again, by appearance."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.people.linking import link
from stmga.trackers.rows import checked_rows, tracklets_of
from stmga.tracklets.preload import preload
from stmga.tracklets.split import evenly
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.text import preview

logger = logging.getLogger(__name__)

FRAMES = 8  # of a track that are embedded
RATE = 1e-4  # the default false-match rate
LOADED = 32  # tracks whose crops are in memory at once


@dataclass(frozen=True)
class Piece:
    """A track as the tracker returned it: its id, and its first and last moment on one clock."""

    id: str
    start: float
    end: float


@overload
def stitch(
    tracks: Sequence[Tracklet],
    vectors: TrackletEmbedder | Embeddings,
    *,
    frames: int = ...,
    threshold: float | None = ...,
    false_match_rate: float | None = ...,
) -> list[Tracklet]: ...
@overload
def stitch(
    tracks: NDArray[Any],
    vectors: TrackletEmbedder | Embeddings,
    *,
    video: str | os.PathLike[str] | None = ...,
    frames: int = ...,
    threshold: float | None = ...,
    false_match_rate: float | None = ...,
) -> NDArray[np.float64]: ...
def stitch(
    tracks: Sequence[Tracklet] | NDArray[Any],
    vectors: TrackletEmbedder | Embeddings,
    *,
    video: str | os.PathLike[str] | None = None,
    frames: int = FRAMES,
    threshold: float | None = None,
    false_match_rate: float | None = None,
) -> list[Tracklet] | NDArray[np.float64]:
    """Join the pieces of the tracks of one video: the same tracks, with fewer ids.

    Trackers lose a person behind an obstacle, and give a new id when the person is seen again. Pieces whose vectors are
    similar become one track, by the average linkage of :func:`stmga.link`. Two pieces that overlap in time are never
    joined. A joined track has the id of its earliest piece.

    Args:
        tracks: rows of a MOT file as an array ``(n, 6 or more)``: frame from 1, id, x, y, w, h in pixels, and further
            columns, which are kept; rows with a negative id belong to no track and are kept as they are. Or tracklets
            of one camera, which come back joined.
        vectors: an embedder, which embeds ``frames`` frames of each track. Or embeddings of the tracks, by their ids
            (``"7"`` for track 7 of an array), such as those that :class:`stmga.trackers.Encoder` made on the way.
        video: the video of an array of rows; only for an embedder.
        frames: how many frames of a track are embedded, evenly spaced.
        threshold: score from which two groups of pieces are one person.
        false_match_rate: the threshold that the calibration of the vectors gives for this rate; default: 1e-4, or the
            nearest rate that was measured. It is a tenth of the default of :func:`stmga.link`, because people in one
            camera look more alike.

    Raises:
        ValueError: rows that are not of a MOT file, an embedder and rows without a video, a track without a vector,
            tracklets of several cameras or videos or without times, or no threshold and no calibration.
        OSError: the video cannot be read.

    >>> import torch
    >>> rows = np.array([[1, 4, 10, 10, 30, 80], [2, 4, 12, 10, 30, 80], [9, 5, 50, 10, 30, 80], [9, 6, 90, 9, 30, 80]])
    >>> same = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    >>> found = Embeddings(same, [{"tracklet": "4"}, {"tracklet": "5"}, {"tracklet": "6"}], digest="1f0c")
    >>> stitch(rows, found, threshold=0.7)[:, 1]
    array([4., 4., 4., 6.])
    """
    if isinstance(tracks, np.ndarray):
        return _stitched_rows(tracks, vectors, video, frames, threshold, false_match_rate)
    if video is not None:
        raise ValueError("tracklets name their own frames: video= is for an array of rows")
    tracklets = list(tracks)
    if wrong := [type(one).__name__ for one in tracklets if not isinstance(one, Tracklet)]:
        raise TypeError(f"expected tracklets, or rows of a MOT file as a numpy array, got a list of {wrong[0]}")
    pieces = _pieces(tracklets)
    made = _embedded(tracklets, vectors, frames) if isinstance(vectors, TrackletEmbedder) else _of(pieces, vectors)
    names = _joined(pieces, made, threshold, false_match_rate)
    groups: dict[str, list[Tracklet]] = {}
    for tracklet in sorted(tracklets, key=lambda one: pieces[one.id].start):
        groups.setdefault(names[tracklet.id], []).append(tracklet)
    return [_one(groups[tracklet.id]) for tracklet in tracklets if tracklet.id in groups]


def _stitched_rows(
    tracks: NDArray[Any],
    vectors: TrackletEmbedder | Embeddings,
    video: str | os.PathLike[str] | None,
    frames: int,
    threshold: float | None,
    false_match_rate: float | None,
) -> NDArray[np.float64]:
    rows = checked_rows(tracks)
    tracked = rows[rows[:, 1] >= 0]
    pieces: dict[str, Piece] = {}
    for track in np.unique(tracked[:, 1]):
        seen = tracked[tracked[:, 1] == track, 0]
        pieces[str(int(track))] = Piece(str(int(track)), float(seen.min()), float(seen.max()))
    if isinstance(vectors, TrackletEmbedder):
        if video is None:
            raise ValueError("an embedder needs the pictures of these rows: pass video=FILE, or embeddings")
        every = tracklets_of(rows, Path(video)) if pieces else []
        made = _embedded([one for one in every if len(one)], vectors, frames)
    else:
        made = _of(pieces, vectors)
    names = _joined(pieces, made, threshold, false_match_rate)
    rows[rows[:, 1] >= 0, 1] = [float(names[str(int(track))]) for track in tracked[:, 1]]
    return rows


def _pieces(tracklets: Sequence[Tracklet]) -> dict[str, Piece]:
    """When each tracklet is seen; all by one clock."""
    found: dict[str, Piece] = {}
    clocks = set()
    for tracklet in tracklets:
        row = tracklet.row()
        if {"video", "start", "end"} <= row.keys():
            clock, start, end = row["video"], row["start"], row["end"]
        elif row.get("time") is not None and row.get("end_time") is not None:
            clock, start, end = "seconds", row["time"], row["end_time"]
        else:
            raise ValueError(
                f'tracklet "{tracklet.id}" does not say when it is seen, which is needed to keep overlapping pieces '
                "apart: its frames must be of a video, or it must have time and end_time"
            )
        clocks.add((str(tracklet.camera), clock))
        if tracklet.id in found:
            raise ValueError(f'two tracklets have the id "{tracklet.id}"')
        found[tracklet.id] = Piece(tracklet.id, start, end)
    if len(clocks) > 1:
        raise ValueError(
            f"these tracklets are of {len(clocks)} cameras or videos, {preview(sorted(map(str, clocks)), 3)}: "
            "stitch those of one at a time; stmga.link groups those of several"
        )
    return found


def _embedded(tracklets: Sequence[Tracklet], embedder: TrackletEmbedder, frames: int) -> Embeddings | None:
    """Vectors of some frames of each track; None if there are no tracks."""
    if isinstance(frames, bool) or not isinstance(frames, int) or frames < 1:
        raise ValueError(f"frames must be an integer >= 1, got {frames!r}")
    few = [evenly(tracklet, frames) for tracklet in tracklets]
    with embedder.one_run(few):
        parts = [embedder.embed(preload(few[i : i + LOADED])) for i in range(0, len(few), LOADED)]
    return Embeddings.concatenate(parts) if parts else None


def _of(pieces: Mapping[str, Piece], embeddings: Embeddings) -> Embeddings:
    """The embeddings of these tracks, in their order."""
    rows = {name: row for row, name in enumerate(embeddings.ids)}
    if missing := [name for name in pieces if name not in rows]:
        raise ValueError(f"there is no vector for tracks {preview(missing)}; the embeddings have {preview(rows)}")
    return embeddings.select([rows[name] for name in pieces])


def _joined(
    pieces: Mapping[str, Piece],
    embeddings: Embeddings | None,
    threshold: float | None,
    false_match_rate: float | None,
) -> dict[str, str]:
    """The new id of each track: that of the earliest piece it is joined with. Tracks without a vector stay alone."""
    names = {name: name for name in pieces}
    if embeddings is None or not len(embeddings):
        return names
    known = [pieces[name] for name in embeddings.ids]
    # One clock keeps apart those that overlap; no camera, because the rate is already that of one camera.
    items = [{"tracklet": p.id, "video": "1", "start": p.start, "end": p.end} for p in known]
    if threshold is None and false_match_rate is None and embeddings.calibration is not None:
        rates = [point.false_match_rate for point in embeddings.calibration.thresholds]
        false_match_rate = min(rates, key=lambda rate: abs(math.log(rate / RATE)))
    people = link(replace(embeddings, items=items), threshold=threshold, false_match_rate=false_match_rate)
    first: dict[int, str] = {}
    by_start = sorted(zip(known, people, strict=True), key=lambda pair: pair[0].start)
    for piece, row in by_start:
        names[piece.id] = first.setdefault(row.identity, piece.id)
    alone = len(pieces) - len(known)
    logger.info("%d tracks joined into %d; %d have no vector", len(pieces), len(set(names.values())), alone)
    return names


def _one(pieces: Sequence[Tracklet]) -> Tracklet:
    """Pieces in order of time as one tracklet, with the id of the first."""
    if len(pieces) == 1:
        return pieces[0]
    first, last = pieces[0], pieces[-1]
    ends = {key: value for key, value in last.extra.items() if key in ("end", "end_time")}
    persons = {piece.person for piece in pieces}
    found = replace(
        first,
        frames=[frame for piece in pieces for frame in piece.frames],
        person=first.person if len(persons) == 1 else None,
        extra={**first.extra, **ends},
    )
    return found.as_checked() if all(piece.checked for piece in pieces) else found
