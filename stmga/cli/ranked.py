"""The picture of a search: the first queries with their first matches, by one network or by two."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from stmga.utils.text import preview

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings

ROWS = 6  # queries in a picture


class Ranking(NamedTuple):
    """Queries, their matches by row in the gallery's embeddings, and these."""

    queries: Embeddings
    matches: Sequence[Sequence[Any]]
    gallery: Embeddings


def same_tracklets(first: Embeddings, other: Embeddings, what: str) -> Embeddings:
    """``other`` in the order of ``first``.

    Raises:
        ValueError: they are of different tracklets.
    """
    if alone := sorted(set(map(str, first.ids)) ^ set(map(str, other.ids))):
        words = f"{len(alone):,} tracklets are in one of the two files alone: {preview(alone)}"
        raise ValueError(f"{what} are not those of the first network ({words}); embed the same tracklets with both")
    row_of = {str(name): row for row, name in enumerate(other.ids)}
    return other.select([row_of[str(name)] for name in first.ids])


def save_ranked(args: argparse.Namespace, ranking: Ranking, other: Ranking | None) -> None:
    """Write the picture of ``--picture``; with another ranking, both are side by side."""
    from stmga.cli import report
    from stmga.tracklets.limits import MAX_PIXELS
    from stmga.tracklets.tracklet import load_cover
    from stmga.visualize import compared_picture, ranked_picture

    load = partial(load_cover, max_pixels=args.max_pixels or MAX_PIXELS)
    rows = range(min(ROWS, len(ranking.queries)))
    order = " Re-ranked." if args.rerank else ""

    def cards(found: Ranking) -> Any:
        return report.cards(found.queries.select(rows), found.matches[:ROWS], found.gallery, load)

    shown, matches = cards(ranking)
    if other is None:
        note = f"Vectors by {ranking.gallery.model or 'unnamed weights'}.{order}"
        picture = ranked_picture(shown, matches, title="First matches", note=note)
    else:
        names = _names(ranking.gallery.model, other.gallery.model, args)
        both = dict(zip(names, (matches, cards(other)[1]), strict=True))
        note = f"Best matches of the same queries by two networks, most similar first.{order}"
        picture = compared_picture(shown, both, title="First matches", note=note)
    report.write_picture(args.picture, picture)


def _names(first: str, second: str, args: argparse.Namespace) -> tuple[str, str]:
    """The headings: what made the vectors, or the files where that does not tell them apart."""
    if first and second and first != second:
        return first, second
    return " ".join(args.gallery), f"against {args.against[1]}"
