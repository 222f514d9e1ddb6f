"""The data of the page of identities: compact rows for the script, and sentences for the reader."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings
from stmga.people.identities import Identities, Membership
from stmga.report.apart import kept_apart
from stmga.tracklets.folders import natural_key

SAME, UNSURE, ALONE, JOINED = range(4)  # the verdicts, as the script numbers them
BLOCK = 2048  # rows compared with all identities at once
EPOCH = 1e8  # smaller times are seconds from a beginning, not since 1970


@dataclass(frozen=True)
class Others:
    """By row: the number of the most similar other identity (0: there is none), and the mean cosine to it."""

    numbers: list[int]
    cosines: list[float]


def other_identities(rows: Sequence[Membership], embeddings: Embeddings) -> tuple[Others, Others]:
    """The most similar other identity of each tracklet, and of each identity in the order of their numbers.

    >>> import torch
    >>> from stmga import Embeddings
    >>> e = Embeddings(torch.tensor([[1.0, 0.0], [0.6, 0.8]]), [{"tracklet": "a"}, {"tracklet": "b"}], digest="1f0c")
    >>> rows = [Membership(identity=i, tracklet=t, confidence=0.5) for i, t in enumerate("ab", start=1)]
    >>> other_identities(rows, e)[0]
    Others(numbers=[2, 1], cosines=[0.6, 0.6])
    """
    numbers, which = np.unique([row.identity for row in rows], return_inverse=True)
    vectors = embeddings.vectors.numpy()
    means = np.zeros((len(numbers), vectors.shape[1]), dtype=np.float32)
    np.add.at(means, which, vectors)
    means /= np.bincount(which)[:, None]
    named = {number: index for index, number in enumerate(numbers.tolist())}
    given = [named.get(row.alternative or 0, -1) for row in rows]
    return _others(vectors, means, which, numbers, given), _others(means, means, np.arange(len(numbers)), numbers)


def _others(
    vectors: NDArray[np.float32],
    means: NDArray[np.float32],
    own: NDArray[np.int64],
    numbers: NDArray[np.int64],
    given: Sequence[int] | None = None,
) -> Others:
    """``given`` has the other identity of a row where it is known, else -1."""
    if len(means) < 2:
        return Others([0] * len(vectors), [0.0] * len(vectors))
    found, cosines = np.empty(len(vectors), np.int64), np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        block = slice(start, start + BLOCK)
        products = vectors[block] @ means.T
        rows = np.arange(len(products))
        products[rows, own[block]] = -np.inf
        best = products.argmax(axis=1)
        if given is not None:
            known = np.array(given[block])
            best = np.where(known >= 0, known, best)
        found[block], cosines[block] = best, products[rows, best]
    return Others(numbers[found].tolist(), np.round(cosines.astype(np.float64), 4).tolist())


def page_data(identities: Identities, embeddings: Embeddings) -> dict[str, Any]:
    """All that the page's script needs, but for the pictures: see ``people.js``."""
    rows = identities.rows
    of_tracklets, of_identities = other_identities(rows, embeddings)
    apart, identities_apart = kept_apart(rows, embeddings, of_tracklets.numbers, of_identities.numbers)
    names = sorted({str(row.camera) for row in rows if row.camera is not None}, key=natural_key)
    cameras = {name: index for index, name in enumerate(names)}
    times, lanes, spans = _times(rows, embeddings.items, names)
    tracklets = [
        [
            row.tracklet,
            row.identity,
            -1 if row.camera is None else cameras[str(row.camera)],
            None if row.person is None else str(row.person),
            row.similarity,
            verdict_of(row, identities, embeddings.calibration),
            row.confidence,
            number,
            cosine,
            int(together),
            *span,
        ]
        for row, number, cosine, together, span in zip(
            rows, of_tracklets.numbers, of_tracklets.cosines, apart, spans, strict=True
        )
    ]
    numbers = sorted({row.identity for row in rows})
    known = [str(identities.known[number]) if number in identities.known else None for number in numbers]
    others = zip(numbers, of_identities.numbers, of_identities.cosines, map(int, identities_apart), known, strict=True)
    return {
        "cameras": names,
        "times": times,
        "lanes": lanes,
        "tracklets": tracklets,
        "identities": list(map(list, others)),
    }


def verdict_of(row: Membership, identities: Identities, calibration: Calibration | None) -> int:
    """Same person or unsure, by the calibration; a tracklet that fits another identity better is unsure."""
    if row.similarity is None:
        return ALONE
    if row.confidence < 0.5:
        return UNSURE
    if calibration is None:
        return JOINED
    verdict = calibration.verdict(row.similarity, false_match_rate=identities.false_match_rate)
    return SAME if verdict == "same" else UNSURE


def _times(
    rows: Sequence[Membership], items: Sequence[Mapping[str, Any]], cameras: Sequence[str]
) -> tuple[str, list[str], list[list[Any]]]:
    """What times are ("clock", "seconds", "frames" or ""), the names of the lines, and each row's line, start and end.

    Times by a clock have a line for each camera, frames have one for each video. The line of a row without is -1.
    """
    clock = [_span(row.time, row.time if row.end_time is None else row.end_time) for row in rows]
    if any(clock):
        kind = "clock" if max(span[1] for span in clock if span) >= EPOCH else "seconds"
        lines = {name: index for index, name in enumerate([*cameras, ""])}
        names = ["" if row.camera is None else str(row.camera) for row in rows]
        spans = [[lines[name], *span] if span else [-1, 0, 0] for name, span in zip(names, clock, strict=True)]
        return kind, [*cameras, "unknown camera"], spans
    frames = [_span(row.start, row.end) for row in rows]
    if not any(frames):
        return "", [], [[-1, 0, 0]] * len(rows)
    keys = [(str(row.camera), str(item.get("video") or "")) for row, item in zip(rows, items, strict=True)]
    known = sorted(
        {key for key, span in zip(keys, frames, strict=True) if span}, key=lambda k: tuple(map(natural_key, k))
    )
    order = {key: index for index, key in enumerate(known)}
    spans = [[order[key], *span] if span else [-1, 0, 0] for key, span in zip(keys, frames, strict=True)]
    return "frames", list(_line_names(known)), spans


def _line_names(keys: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The camera; with the name of the video where a camera has several."""
    cameras = [camera for camera, _ in keys]
    for camera, video in keys:
        stem = PurePath(video).stem
        yield f"{camera} {stem}" if cameras.count(camera) > 1 and stem else camera


def _span(start: Any, end: Any) -> tuple[float, float] | None:
    good = all(isinstance(t, (int, float)) and math.isfinite(t) for t in (start, end))
    return (start, max(start, end)) if good else None
