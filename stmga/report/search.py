"""The page of a ranked search: queries and their matches, with pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings
from stmga.gallery.matches import Match
from stmga.report.page import check_page, in_script, render, require_jinja, write_page
from stmga.report.people import PAGE, PICTURES, Report, refuse_pictures
from stmga.report.picture_folder import PictureFolder
from stmga.report.wording import calibration_facts, pictures_left_out, skipped, verdicts, weights_of
from stmga.tracklets.limits import MAX_PIXELS
from stmga.utils.text import counted


def write_search_page(
    queries: Embeddings,
    matches: Sequence[Sequence[Match]],
    gallery: Embeddings,
    folder: str | os.PathLike[str],
    *,
    pictures: bool = True,
    workers: int | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: bool = False,
) -> Report:
    """Write ``folder/report.html`` and ``folder/pictures/``: every query with its matches, most similar first.

    The page works from disk, without a server, and asks no host for anything. Verdicts are those of the gallery's
    calibration. Pictures are of the queries, and of those tracklets of the gallery that match.

    Args:
        queries: with as many rows as ``matches`` has lists.
        matches: of :meth:`stmga.Gallery.search`, by row in ``gallery``.
        gallery: that was searched in.
        folder, pictures, workers, max_pixels: as for :func:`stmga.report.write_report`.

    Raises:
        ValueError: not one list of matches for each query; otherwise as :func:`stmga.report.write_report`.
        ImportError: Jinja2 is not installed.
        OSError: the folder cannot be written.

    >>> import tempfile, torch
    >>> from stmga import Gallery
    >>> items = [{"tracklet": "a", "camera": 1}, {"tracklet": "b", "camera": 2}]
    >>> embeddings = Embeddings(torch.eye(2), items, digest="1f0c")
    >>> found = Gallery(embeddings).search(embeddings[:1], k=1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_search_page(embeddings[:1], found, embeddings, folder, pictures=False).path.name
    'report.html'
    """
    require_jinja()
    folder = Path(folder)
    if len(queries) != len(matches):
        raise ValueError(
            f"expected one list of matches for each query, got {len(queries)} queries, {len(matches)} lists"
        )
    before = check_page(folder / PAGE)
    data, items = _data(queries, matches, gallery)
    shown = PictureFolder(folder / PICTURES, items) if pictures else None
    if shown is None:
        refuse_pictures(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        if shown is not None:
            held.enter_context(shown.hold())
            shown.write(workers=workers, max_pixels=max_pixels, progress=progress)
            data["pictures"] = shown.masks
        made_from = _write(queries, gallery, folder / PAGE, data, shown)
    replaced = before not in ("", made_from)
    if shown is None:
        return Report(folder / PAGE, 0, 0, {}, replaced)
    return Report(folder / PAGE, shown.new + shown.reused, shown.reused, shown.failed, replaced)


def _data(
    queries: Embeddings, matches: Sequence[Sequence[Match]], gallery: Embeddings
) -> tuple[dict[str, Any], list[Mapping[str, Any]]]:
    """The data of the page's script, and the items that it numbers: all queries, then what matches them."""
    rows = sorted({match.row for found in matches for match in found})
    places = {row: len(queries) + place for place, row in enumerate(rows)}
    items: list[Mapping[str, Any]] = [*queries.items, *(gallery.items[row] for row in rows)]
    calibration = gallery.calibration
    data: dict[str, Any] = {
        "items": [[_text(item.get(key)) for key in ("tracklet", "person", "camera")] for item in items],
        "queries": list(range(len(queries))),
        "matches": [[_match(match, places, calibration) for match in found] for found in matches],
        "gallery": len(gallery),
        "verdicts": calibration is not None,
    }
    return data, items


def _match(match: Match, places: Mapping[int, int], calibration: Calibration | None) -> list[Any]:
    verdict = None if calibration is None else calibration.verdict(match.similarity)
    return [places[match.row], round(match.similarity, 4), verdict]


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _write(
    queries: Embeddings, gallery: Embeddings, path: Path, data: Mapping[str, Any], shown: PictureFolder | None
) -> str:
    calibration = gallery.calibration
    facts = [
        ("Queries", f"{len(queries):,}"),
        ("Gallery", counted(len(gallery), "tracklet")),
        ("Weights", weights_of(gallery)),
        *calibration_facts(calibration),
    ]
    missing = list(_left_out(queries, gallery, shown))
    script = in_script(data)
    made_from = hashlib.sha256("\n".join([script, *map(": ".join, facts), *missing]).encode()).hexdigest()[:16]
    meaning = {} if calibration is None else verdicts(calibration) | {"other": f"Below {calibration.lower:.3f}."}
    page = render("search", script, title="Search", made_from=made_from, facts=facts, left_out=missing, meaning=meaning)
    write_page(path, page)
    return made_from


def _left_out(queries: Embeddings, gallery: Embeddings, shown: PictureFolder | None) -> Iterator[str]:
    yield from skipped([*queries.skipped, *gallery.skipped])
    yield from pictures_left_out(shown)
