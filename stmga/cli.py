"""The `stmga` command. Every command imports what it needs when it runs, so that help and errors come at once."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stmga import cli_data, cli_eval, cli_export, cli_teacher, cli_train, cli_weights
from stmga.arguments import build_parser
from stmga.cli_model import computing_model_of, device_for, peak_memory
from stmga.command import check_writable, leads
from stmga.utils.cpu import keep_freed_memory
from stmga.utils.text import preview, text_table

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings
    from stmga.tracklets.tracklet import Tracklet


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    for stream in (sys.stdout, sys.stderr):  # ids are file names: not every one can be printed as it is
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    args = build_parser().parse_args(argv)
    own = argv is None  # not called by another program, whose memory this would be
    if own and args.command in COMPUTING and os.environ.get("STMGA_KEEP_MEMORY") != "0":
        keep_freed_memory()
    logging.basicConfig(format="stmga: %(message)s", level=logging.WARNING)
    logging.getLogger("stmga").setLevel(logging.INFO)
    try:
        COMMANDS[args.command](args)
    except KeyboardInterrupt:
        print("stmga: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `stmga weights | head` has read enough
        sys.stdout = None  # nothing to flush at exit
        return 0
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("STMGA_DEBUG"):
            raise
        unforeseen = type(error) in (TypeError, RuntimeError)
        print(f"stmga: error: {error}{' (STMGA_DEBUG=1 shows where)' if unforeseen else ''}", file=sys.stderr)
        return 1
    return 0


# ---- embed


def embed(args: argparse.Namespace) -> None:
    """One vector for each tracklet, in a file; with torchrun by several processes."""
    from stmga.embedding.embedder import TrackletEmbedder
    from stmga.embedding.resumable import embed_in_pieces
    from stmga.utils.distributed import joined

    check_writable(args.out)
    model, weights = computing_model_of(args)
    tell = print if leads() else lambda _: None
    tell(f"weights   {weights}")
    tracklets = _read(args)
    persons, cameras = ({getattr(t, what) for t in tracklets} - {None} for what in ("person", "camera"))
    known = f"{len(persons) or 'unknown'} persons, {len(cameras) or 'unknown'} cameras"
    tell(f"read      {len(tracklets):,} tracklets, {sum(map(len, tracklets)):,} frames, {known} from {args.source}")
    with joined(device_for(args, model)) as world:
        several = f", {world.size} processes" if world.size > 1 else ""
        options = f"{', compiled' if args.compile else ''}{', flip' if args.flip else ''}"
        tell(f"device    {world.device}, {args.precision}{options}{several}")
        embedder = TrackletEmbedder(
            model,
            device=world.device,
            precision=args.precision,
            compile=args.compile,
            batch_size=args.batch_size,
            workers=args.workers,
            decode=args.decode,
            sampling=args.sampling,
            flip=args.flip,
            on_error=args.on_error,
            progress=world.leads and not args.quiet,
        )
        start = time.perf_counter()
        embeddings = embed_in_pieces(embedder, tracklets, args.out, world, name=weights)
        seconds = time.perf_counter() - start
        device = str(world.device)
    if embeddings is None:  # the leader tells
        return
    for skip in embeddings.skipped:
        print(f"skipped   {skip['reason']}")
    kept, most = set(embeddings.ids), model.config.clip_length if args.sampling == "evenly" else sys.maxsize
    frames = sum(min(len(tracklet), most) for tracklet in tracklets if tracklet.id in kept)
    speed = f"{frames / seconds:,.0f} frames/s ({frames:,} frames in {seconds:.1f} s)"
    print(f"speed     {speed}, peak memory {peak_memory(device)}")
    count, dim = embeddings.vectors.shape
    lost = f", {len(embeddings.skipped):,} skipped" if embeddings.skipped else ""
    print(f"wrote     {args.out}: {count:,} vectors of {dim} numbers{lost}, digest {embeddings.digest[:12]}")


def _read(args: argparse.Namespace) -> list[Tracklet]:
    check_files = args.on_error == "raise"
    tracks = {key: getattr(args, key) for key in ("camera", "first_index", "min_frames")}
    tracks = {key: value for key, value in tracks.items() if value is not None}
    if args.mot_frames is None:
        from stmga.tracklets.readers import read_tracklets

        for key in tracks:
            hint = "; a folder says it in --layout, a manifest in its lines" if key == "camera" else ""
            raise ValueError(f"--{key.replace('_', '-')} belongs to --mot-frames{hint}")
        return read_tracklets(args.source, layout=args.layout, check_files=check_files)
    from stmga.tracklets.mot import read_mot

    return read_mot(args.source, args.mot_frames, **tracks, check_files=check_files)


# ---- search


def search(args: argparse.Namespace) -> None:
    """The most similar gallery tracklets of each query."""
    from stmga import report
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.gallery import Gallery

    for path in filter(None, (args.out, args.picture)):
        check_writable(path)
    if args.out:
        report.check_suffix(args.out)
    if args.picture:
        report.check_suffix(args.picture, "a picture", report.PICTURE_SUFFIXES)
    queries = _select(Embeddings.load(args.queries), args.where, args.queries)
    gallery = Gallery()
    for path in args.gallery:
        gallery.add(_select(Embeddings.load(path), args.gallery_where, path))
    matches = gallery.search(queries, args.top, threshold=args.threshold, other_camera=args.other_camera)
    if args.out:
        report.write_matches(args.out, queries, matches, gallery.calibration)
    print(f"{len(queries):,} queries in {len(gallery):,} tracklets; vectors by {gallery.model or 'unnamed weights'}")
    if gallery.calibration is not None:
        print(f"verdict: {gallery.calibration.describe()}")
    rows = report.answers(queries, matches, gallery.calibration)
    print("\n" + text_table(report.answer_header(gallery.calibration), rows[:10]))
    if len(rows) > 10:
        print(f"... and {len(rows) - 10:,} more queries; write them all with -o matches.jsonl")
    _print_score(queries, gallery.embeddings)
    if args.out:
        print(f"\nwrote {args.out}")
    if args.picture:
        _save_ranked(args.picture, queries, matches, gallery.embeddings)
        print(f"wrote {args.picture}")


def _select(embeddings: Embeddings, where: Sequence[str], path: str) -> Embeddings:
    for condition in where:
        key, sign, value = condition.partition("=")
        if not sign:
            raise ValueError(f"expected key=value, got {condition!r}")
        seen = sorted({str(item[key]) for item in embeddings.items if key in item})
        if value not in seen:
            keys = sorted({name for item in embeddings.items for name in item} - {"cover"})
            hint = f"{key} is {preview(seen)}" if seen else f"the keys are {', '.join(keys)}"
            raise ValueError(f"{path} has no tracklet with {condition}; {hint}")
        embeddings = embeddings.select([str(item.get(key)) == value for item in embeddings.items])
    return embeddings


def _print_score(queries: Embeddings, gallery: Embeddings) -> None:
    from stmga import report

    if all(p is None for p in queries.persons) or all(p is None for p in gallery.persons):
        return
    scores = report.score(queries, gallery)
    if scores is None:
        print("\nno query has a match to be found (its person, from another camera), so there is no score")
    else:
        print(f"\n{scores}\nrule: {report.RULE}")


def _save_ranked(path: str, queries: Embeddings, matches: Sequence[Any], gallery: Embeddings, rows: int = 6) -> None:
    from stmga import report
    from stmga.tracklets.tracklet import load_cover
    from stmga.visualize import ranked_picture

    shown, found = report.cards(queries.select(range(min(rows, len(queries)))), matches[:rows], gallery, load_cover)
    note = f"Vectors by {gallery.model or 'unnamed weights'}."
    report.write_picture(path, ranked_picture(shown, found, title="First matches", note=note))


# ---- demo


def demo(args: argparse.Namespace) -> None:
    """Everything at once on rendered figures."""
    from stmga.demo import run_demo

    result = run_demo(args.out, persons=args.persons, seed=args.seed, progress=not args.quiet)
    print(f"{result.text}\n\npicture: {result.picture}")


COMPUTING = ("ablate", "demo", "embed", "teacher", "train")  # batch after batch of the same maps
COMMANDS = {
    "demo": demo,
    "embed": embed,
    "search": search,
    **cli_data.COMMANDS,
    **cli_eval.COMMANDS,
    **cli_export.COMMANDS,
    **cli_teacher.COMMANDS,
    **cli_train.COMMANDS,
    **cli_weights.COMMANDS,
}
