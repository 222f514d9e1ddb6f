"""What the command line reports: ranked matches as text, as files and as cards for a picture, and their score."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from stmga.calibration import Calibration
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.matches import Match
    from stmga.metrics import RankScores
    from stmga.visualize import Card

MATCH_SUFFIXES, PICTURE_SUFFIXES = (".jsonl", ".csv"), (".png",)
RULE = (
    "cosine similarity; a query never finds itself; where cameras are known, tracklets of its person from its own "
    "camera or an unknown one are left out; gallery tracklets without a person count as wrong"
)


def score(queries: Embeddings, gallery: Embeddings) -> RankScores | None:
    """Rank-k and mAP by :data:`RULE`; ``None`` if no query has a match that could be found."""
    from stmga.metrics import NoMatchError, Protocol, evaluate

    try:
        return evaluate(queries, gallery, Protocol(queries_in_gallery=False)).scores
    except NoMatchError:
        return None


def answers(
    queries: Embeddings, matches: Sequence[Sequence[Match]], calibration: Calibration | None = None
) -> list[list[Any]]:
    """One row for each query: its id, person and camera, then its best match and whether that is right.

    With a calibration the last cell has its verdict. :func:`answer_header` gives the column names.
    """
    rows = []
    for item, found in zip(queries.items, matches, strict=True):
        best: list[Any] = [None] * 5
        if found:
            best = [*_labels((found[0].id, found[0].person, found[0].camera)), f"{found[0].similarity:.3f}", ""]
            if item.get("person") is not None and found[0].person is not None:
                best[4] = "right" if str(item["person"]) == str(found[0].person) else "wrong"
        if calibration is not None:
            best.append(calibration.verdict(found[0].similarity) if found else None)
        rows.append([*_labels(_who(item).values()), *best])
    return rows


def answer_header(calibration: Calibration | None = None) -> tuple[str, ...]:
    """The column names of :func:`answers`."""
    names = ("query", "person", "camera", "best match", "person", "camera", "similarity", "")
    return names if calibration is None else (*names, "verdict")


def write_matches(
    path: str | Path,
    queries: Embeddings,
    matches: Sequence[Sequence[Match]],
    calibration: Calibration | None = None,
) -> None:
    """Every match of every query: a line per query in ``.jsonl``, per match in ``.csv``. A failure leaves an old file.

    With a calibration every match has its ``verdict``: ``"same"``, ``"unsure"`` or ``"other"``.

    Raises:
        ValueError: another suffix.
    """
    from stmga.utils.files import atomic_write

    path = Path(path)
    check_suffix(path)
    pairs = list(zip(queries.items, matches, strict=True))
    text = io.StringIO(newline="")
    if path.suffix == ".jsonl":
        for item, found in pairs:
            row = {"query": _who(item), "matches": [_found(match, calibration) for match in found]}
            text.write(json.dumps(row) + "\n")
    else:
        writer = csv.writer(text)
        names = ["query", "query_person", "query_camera", "rank", "tracklet", "similarity", "person", "camera"]
        writer.writerow(names if calibration is None else [*names, "verdict"])
        for item, found in pairs:
            for match in found:
                writer.writerow([*_who(item).values(), *_found(match, calibration).values()])
    atomic_write(path, text.getvalue().encode("utf-8", "surrogateescape"))  # ids are file names, of any bytes


def write_picture(path: str | Path, picture: Image.Image) -> None:
    """The picture as PNG; on failure, an old file stays.

    Raises:
        ValueError: another suffix than ``.png``.
    """
    from stmga.utils.files import atomic_write

    check_suffix(path, "a picture", PICTURE_SUFFIXES)
    data = io.BytesIO()
    picture.save(data, "PNG")
    atomic_write(path, data.getvalue())


def check_suffix(path: str | Path, what: str = "matches", suffixes: Sequence[str] = MATCH_SUFFIXES) -> None:
    """Refuse an unknown suffix before any work is done."""
    if Path(path).suffix not in suffixes:
        raise ValueError(f"{what} can be written as {' or '.join(suffixes)}, got {str(path)!r}")


def cards(
    queries: Embeddings,
    matches: Sequence[Sequence[Match]],
    gallery: Embeddings,
    picture: Callable[[Mapping[str, Any]], Any],
    *,
    best: int = 5,
) -> tuple[list[Card], list[list[Card]]]:
    """What :func:`stmga.visualize.ranked_picture` takes; ``picture`` gives the crop of an item, or ``None``."""
    from stmga.visualize import Card

    def card(item: Mapping[str, Any], similarity: float | None = None) -> Card:
        tracklet, person, camera = _labels(_who(item).values())
        return Card(picture=picture(item), tracklet=str(tracklet), person=person, camera=camera, similarity=similarity)

    found = [[card(gallery.items[match.row], match.similarity) for match in row[:best]] for row in matches]
    return [card(item) for item in queries.items], found


def _labels(values: Any) -> list[str | None]:
    """Labels as text: a folder has "7" where a manifest has 7, and a table would print 1234 as 1,234."""
    return [None if value is None else str(value) for value in values]


def _who(item: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item.get(key) for key in ("tracklet", "person", "camera")}


def _found(match: Match, calibration: Calibration | None) -> dict[str, Any]:
    row = {
        "rank": match.rank,
        "tracklet": match.id,
        "similarity": round(match.similarity, 6),
        "person": match.person,
        "camera": match.camera,
    }
    return row if calibration is None else row | {"verdict": calibration.verdict(match.similarity)}
