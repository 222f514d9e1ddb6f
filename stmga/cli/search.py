"""The command that searches in embeddings."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from stmga.cli.options import add_max_pixels
from stmga.cli.pages import add_no_pictures, print_report
from stmga.cli.parser import check_writable, command, count
from stmga.utils.foreign import escaped
from stmga.utils.text import preview, text_table

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.gallery import Gallery

RERANKED = "; re-ranked (Zhong et al. 2017, k1 20, k2 6, weight 0.3)"


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga search queries.safetensors gallery.safetensors --other-camera --picture ranked.png
  stmga search all.safetensors all.safetensors --where role=query -o matches.jsonl"""
    add = command(commands, "search", "find the most similar gallery tracklets of each query", example).add_argument
    add("queries", metavar="QUERIES", help="embeddings of `stmga embed`")
    add("gallery", metavar="GALLERY", nargs="+", help="one or more files of embeddings to search in")
    add("--top", type=count, default=10, metavar="K", help="matches of each query (default: 10)")
    add("--threshold", type=float, help="only matches with at least this cosine, -1 to 1")
    add("--other-camera", action="store_true", help="only matches from other cameras than the query's")
    add(
        "--travel", metavar="A:B=20..300", action="append", default=[],
        help="how many seconds people take between two cameras: leaves out whom nobody could have reached",
    )  # fmt: skip
    add("--rerank", action="store_true", help="order by k-reciprocal re-ranking with the whole gallery")
    add("--where", action="append", default=[], metavar="KEY=VALUE", help="only these queries, as role=query")
    add("--gallery-where", action="append", default=[], metavar="KEY=VALUE", help="only this part of the gallery")
    add("-o", "--out", metavar="FILE", help="write all matches, .jsonl or .csv")
    add_max_pixels(add)
    add("--picture", metavar="FILE", help="draw the first queries with their first five matches, .png")
    add("--html", metavar="DIR", help="write a page of all queries and matches with pictures, DIR/report.html")
    add_no_pictures(add)


def search(args: argparse.Namespace) -> None:
    """The most similar gallery tracklets of each query."""
    from stmga.cli import report
    from stmga.embedding.embeddings import Embeddings
    from stmga.embedding.embeddings_file import find_file
    from stmga.gallery.gallery import Gallery
    from stmga.tracklets.times import TravelTime

    _check_outputs(args)
    travel = [TravelTime.parse(text) for text in args.travel]
    for path in (args.queries, *args.gallery):  # all of them before the first is read
        find_file(path)
    for condition in (*args.where, *args.gallery_where):
        _key_value(condition)
    queries = _select(Embeddings.load(args.queries), args.where, args.queries)
    gallery = Gallery()
    for path in args.gallery:
        gallery.add(_select(Embeddings.load(path), args.gallery_where, path))
    matches = gallery.search(
        queries, args.top, threshold=args.threshold, other_camera=args.other_camera, travel=travel, rerank=args.rerank
    )
    if args.out:
        report.write_matches(args.out, queries, matches, gallery.calibration, travel=bool(travel))
    _print_head(args, queries, gallery)
    rows = report.answers(queries, matches, gallery.calibration)
    print("\n" + text_table(report.answer_header(gallery.calibration), rows[:10]))
    if len(rows) > 10:
        where = f"all are in {args.out}" if args.out else "write all with -o matches.jsonl"
        print(f"... and {len(rows) - 10:,} more queries; {where}")
    _print_score(args, queries, gallery.embeddings)
    if args.out:
        print(f"\nwrote {args.out}")
    if args.picture:
        _save_ranked(args, queries, matches, gallery.embeddings)
        print(f"wrote {args.picture}")
    if args.html:
        _write_page(args, queries, matches, gallery.embeddings)


def _check_outputs(args: argparse.Namespace) -> None:
    from stmga.cli import report

    for path in filter(None, (args.out, args.picture)):
        check_writable(path)
    if args.out:
        report.check_suffix(args.out)
    if args.picture:
        report.check_suffix(args.picture, "a picture", report.PICTURE_SUFFIXES)
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


def _select(embeddings: Embeddings, where: Sequence[str], path: str) -> Embeddings:
    for condition in where:
        key, value = _key_value(condition)
        seen = sorted({str(item[key]) for item in embeddings.items if key in item})
        if value not in seen:
            keys = sorted({name for item in embeddings.items for name in item} - {"cover"})
            hint = f"{key} is {preview(seen)}" if seen else f"the keys are {', '.join(keys)}"
            raise ValueError(f"{path} has no tracklet with {condition}; {hint}")
        embeddings = embeddings.select([str(item.get(key)) == value for item in embeddings.items])
    return embeddings


def _key_value(condition: str) -> tuple[str, str]:
    key, sign, value = condition.partition("=")
    if not sign:
        raise ValueError(f"expected key=value, got {condition!r}")
    return key, value


def _print_head(args: argparse.Namespace, queries: Embeddings, gallery: Gallery) -> None:
    """What was searched, and what the order and the numbers are."""
    made_by = escaped(gallery.model) or "unnamed weights"
    print(f"{len(queries):,} queries in {len(gallery):,} tracklets; vectors by {made_by}")
    if gallery.calibration is not None:
        print(f"verdict: {gallery.calibration.describe()}")
    else:
        print("verdict: none, because the gallery has no calibration; `stmga calibrate` measures one")
    if args.rerank:
        print("order: k-reciprocal re-ranking with the whole gallery; similarities are cosines and need not fall")
    if args.travel:
        order = "" if args.rerank else "order, "
        print(f"travel: a time that fits is added to the similarity, for {order}threshold and verdict")


def _print_score(args: argparse.Namespace, queries: Embeddings, gallery: Embeddings) -> None:
    from stmga.cli import report

    if args.travel or all(p is None for p in queries.persons) or all(p is None for p in gallery.persons):
        return
    scores = report.score(queries, gallery, rerank=args.rerank)
    if scores is None:
        print("\nno query has a match to be found (its person, from another camera), so there is no score")
    else:
        print(f"\n{scores}\nrule: {report.RULE}{RERANKED if args.rerank else ''}")


def _save_ranked(
    args: argparse.Namespace, queries: Embeddings, matches: Sequence[Any], gallery: Embeddings, rows: int = 6
) -> None:
    from stmga.cli import report
    from stmga.tracklets.limits import MAX_PIXELS
    from stmga.tracklets.tracklet import load_cover
    from stmga.visualize import ranked_picture

    load = partial(load_cover, max_pixels=args.max_pixels or MAX_PIXELS)
    shown, found = report.cards(queries.select(range(min(rows, len(queries)))), matches[:rows], gallery, load)
    note = f"Vectors by {gallery.model or 'unnamed weights'}." + (" Re-ranked." if args.rerank else "")
    report.write_picture(args.picture, ranked_picture(shown, found, title="First matches", note=note))


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"search": search}
