"""The command that searches in embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.conditions import HELP, Conditions
from stmga.cli.options import add_max_pixels
from stmga.cli.pages import add_no_pictures, print_report
from stmga.cli.parser import check_writable, command, count
from stmga.utils.foreign import escaped
from stmga.utils.text import text_table

if TYPE_CHECKING:
    from stmga.cli.ranked import Ranking
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.base import SearchableGallery
    from stmga.gallery.matches import Match
    from stmga.gallery.where import Where

RERANKED = "; re-ranked (Zhong et al. 2017, k1 20, k2 6, weight 0.3)"


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga search queries.safetensors gallery.safetensors --other-camera --picture ranked.png
  stmga search all.safetensors all.safetensors --where role=query -o matches.jsonl
  stmga search old.safetensors old.safetensors --against new.safetensors new.safetensors --picture both.png
  stmga search today.safetensors people.db --gallery-where camera=door --gallery-where time=2026-11-28T10:00:00Z.."""
    add = command(commands, "search", "find the most similar gallery tracklets of each query", example).add_argument
    add("queries", metavar="QUERIES", help="embeddings of `stmga embed`")
    add("gallery", metavar="GALLERY", nargs="+", help="one or more files of embeddings, or a gallery as people.db")
    add("--top", type=count, default=10, metavar="K", help="matches of each query (default: 10)")
    add("--threshold", type=float, help="only matches with at least this cosine, -1 to 1")
    add("--other-camera", action="store_true", help="only matches from other cameras than the query's")
    add(
        "--travel", metavar="A:B=20..300", action="append", default=[],
        help="how many seconds people take between two cameras: leaves out whom nobody could have reached",
    )  # fmt: skip
    add("--rerank", action="store_true", help="order by k-reciprocal re-ranking with the whole gallery")
    add("--where", action="append", default=[], metavar="KEY=VALUE", help=f"only these queries: {HELP}")
    add(
        "--gallery-where",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only this part of the gallery, written as for --where",
    )
    add("-o", "--out", metavar="FILE", help="write all matches, .jsonl or .csv")
    add_max_pixels(add)
    add("--picture", metavar="FILE", help="draw the first queries with their first five matches, .png")
    add(
        "--against", metavar=("QUERIES", "GALLERY"), nargs=2,
        help="draw beside them the matches of another network: embeddings of the same tracklets by that network",
    )  # fmt: skip
    add("--html", metavar="DIR", help="write a page of all queries and matches with pictures, DIR/report.html")
    add_no_pictures(add)


def search(args: argparse.Namespace) -> None:
    """The most similar gallery tracklets of each query."""
    from stmga.cli import report
    from stmga.embedding.embeddings import Embeddings
    from stmga.embedding.embeddings_file import find_file
    from stmga.tracklets.times import TravelTime

    _check_outputs(args)
    travel = [TravelTime.parse(text) for text in args.travel]
    mine, (where, rows_of_files) = Conditions.parse(args.where), Conditions.parse(args.gallery_where).of_gallery()
    for path in (args.queries, *args.gallery, *(args.against or ())):  # all of them before the first is read
        find_file(path)
    queries = mine.select(Embeddings.load(args.queries), args.queries)
    with _gallery(args.gallery, rows_of_files) as gallery:
        matches = _matches(args, queries, gallery, where, travel)
        if args.out:
            report.write_matches(args.out, queries, matches, gallery.calibration, travel=bool(travel))
        _print_head(args, queries, gallery)
        rows = report.answers(queries, matches, gallery.calibration)
        print("\n" + text_table(report.answer_header(gallery.calibration), rows[:10]))
        if len(rows) > 10:
            hint = f"all are in {args.out}" if args.out else "write all with -o matches.jsonl"
            print(f"... and {len(rows) - 10:,} more queries; {hint}")
        _print_score(args, queries, gallery, where)
        if args.out:
            print(f"\nwrote {args.out}")
        if args.picture or args.html:
            drawn = _drawn(queries, matches, gallery)
            _draw(args, drawn, _other(args, drawn, mine, where, rows_of_files, travel) if args.against else None)


def _matches(
    args: argparse.Namespace, queries: Embeddings, gallery: SearchableGallery, where: Where | None, travel: list[Any]
) -> list[list[Match]]:
    return gallery.search(
        queries, args.top, threshold=args.threshold, other_camera=args.other_camera, where=where, travel=travel,
        rerank=args.rerank,
    )  # fmt: skip


def _gallery(paths: Sequence[str], conditions: Conditions) -> SearchableGallery:
    """A gallery in a file, or one in memory of the rows of embeddings files."""
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.gallery import Gallery

    if any(map(_is_database, paths)):
        if len(paths) > 1:
            raise ValueError(f"a gallery in a file is searched alone, got {', '.join(paths)}")
        if conditions.values:
            keys = ", ".join(conditions.values)
            raise ValueError(f"{paths[0]} can be searched by camera, person and time, not by {keys}")
        return Gallery.open(paths[0], read_only=True)
    gallery = Gallery()
    for path in paths:
        gallery.add(conditions.select(Embeddings.load(path), path))
    return gallery


def _is_database(path: str) -> bool:
    from stmga.gallery.gallery import SQLITE

    return Path(path).suffix.lower() in SQLITE


def _drawn(queries: Embeddings, matches: Sequence[Sequence[Match]], gallery: SearchableGallery) -> Ranking:
    """What a picture or a page takes: rows of a file may have gaps, those of its embeddings have none."""
    from stmga.cli.ranked import Ranking

    everything = gallery.embeddings
    row_of = {name: row for row, name in enumerate(everything.ids)}
    return Ranking(
        queries, [[replace(match, row=row_of[match.id]) for match in found] for found in matches], everything
    )


def _other(
    args: argparse.Namespace, first: Ranking, mine: Conditions, where: Where | None, rows: Conditions, travel: list[Any]
) -> Ranking:
    """The ranking of the same queries by the network of --against, found in the same way."""
    from stmga.cli.ranked import same_tracklets
    from stmga.embedding.embeddings import Embeddings

    file, files = args.against
    queries = same_tracklets(first.queries, mine.select(Embeddings.load(file), file), f"the queries of {file}")
    with _gallery([files], rows) as gallery:
        found = _drawn(queries, _matches(args, queries, gallery, where, travel), gallery)
    same_tracklets(first.gallery, found.gallery, f"the gallery of {files}")
    return found


def _draw(args: argparse.Namespace, ranking: Ranking, other: Ranking | None) -> None:
    """The picture and the page, if asked for."""
    if args.picture:
        from stmga.cli.ranked import save_ranked

        save_ranked(args, ranking, other)
        print(f"wrote {args.picture}")
    if args.html:
        _write_page(args, ranking.queries, ranking.matches, ranking.gallery)


def _check_outputs(args: argparse.Namespace) -> None:
    from stmga.cli import report

    for path in filter(None, (args.out, args.picture)):
        check_writable(path)
    if args.out:
        report.check_suffix(args.out)
    if args.picture:
        report.check_suffix(args.picture, "a picture", report.PICTURE_SUFFIXES)
    elif args.against:
        raise ValueError("--against is drawn into a picture: add --picture FILE, as --picture both.png")
    if args.html:
        from stmga.report.page import require_jinja

        require_jinja()
    elif args.no_pictures:
        raise ValueError("--no-pictures is for the page of --html DIR")


def _write_page(args: argparse.Namespace, queries: Embeddings, matches: Sequence[Any], gallery: Embeddings) -> None:
    from stmga.report import write_search_page
    from stmga.tracklets.limits import MAX_PIXELS

    most = args.max_pixels or MAX_PIXELS
    pictures = not args.no_pictures
    print_report(
        write_search_page(
            queries, matches, gallery, args.html, rerank=args.rerank, pictures=pictures, max_pixels=most, progress=True
        ),
        "wrote ",
    )


def _print_head(args: argparse.Namespace, queries: Embeddings, gallery: SearchableGallery) -> None:
    """What was searched, and what the order and the numbers are."""
    made_by = escaped(gallery.model) or "unnamed weights"
    print(f"{len(queries):,} queries in {len(gallery):,} tracklets; vectors by {made_by}")
    if gallery.calibration is not None:
        print(f"verdict: {gallery.calibration.describe()}")
    else:
        print("verdict: none, because the gallery has no calibration; `stmga calibrate` measures one")
    if args.gallery_where:
        print(f"only: {', '.join(map(escaped, args.gallery_where))}")
    if args.rerank:
        print("order: k-reciprocal re-ranking with the whole gallery; similarities are cosines and need not fall")
    if args.travel:
        order = "" if args.rerank else "order, "
        print(f"travel: a time that fits is added to the similarity, for {order}threshold and verdict")


def _print_score(
    args: argparse.Namespace, queries: Embeddings, gallery: SearchableGallery, where: Where | None
) -> None:
    """mAP and rank-k of a plain or re-ranked search in files of embeddings whose persons are known."""
    from stmga.cli import report
    from stmga.gallery.columns import Columns

    if args.travel or (args.rerank and where) or _is_database(args.gallery[0]):
        return
    everything = gallery.embeddings
    if where is not None:
        everything = everything.select(where.rows(Columns.of(everything.items)))
    if all(p is None for p in queries.persons) or all(p is None for p in everything.persons):
        return
    scores = report.score(queries, everything, rerank=args.rerank)
    if scores is None:
        print("\nthere is no score: no query has a match from another camera in the gallery")
    else:
        print(f"\n{scores}\nrule: {report.RULE}{RERANKED if args.rerank else ''}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"search": search}
