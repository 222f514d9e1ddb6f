"""The command that says who comes by, as JSON lines."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any

from stmga.cli.gallery import summary, weights_for
from stmga.cli.options import MODEL, add_frames, trained
from stmga.cli.parser import check_exists, command
from stmga.cli.track import NOTE, add_tracking, detector_line, job_of
from stmga.utils.text import counted


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga watch door.mp4 --gallery people.db
  stmga watch door=rtsp://10.0.0.7/stream --gallery people.db --start 2026-11-28T10:00:00+01:00 > seen.jsonl

One JSON line for each tracklet, one second after the person was last found: person, verdict, similarity, first and
last frame, and times if --start is given.

"""
    summary = "say who of a gallery comes by in a video, a line for each tracklet that ends"
    add = command(commands, "watch", summary, example + NOTE).add_argument
    add_tracking(add, one=True)
    add("--gallery", metavar="FILE", required=True, help="the gallery of `stmga enrol`")
    add("--model", metavar="NAME", help=f"weights (default: those of the gallery, or {MODEL})")
    add_frames(add)
    add("--known", type=float, default=1e-4, metavar="RATE", help='"known" from the threshold of this rate (1e-4)')
    add("--new", type=float, default=1e-2, metavar="RATE", help='"new" below the threshold of this rate (0.01)')
    add("--enrol-new", action="store_true", help="add new people to the gallery as new-1, new-2, ...")
    add("-q", "--quiet", action="store_true", help="no progress bar")


def watch(args: argparse.Namespace) -> None:
    """Track one video, and compare every tracklet with a gallery."""
    from stmga.embedding.embedder import TrackletEmbedder
    from stmga.gallery import Gallery
    from stmga.people.watching import watch as watch_

    if not args.enrol_new:
        check_exists(args.gallery)
    job = job_of(args)
    with Gallery.open(args.gallery, read_only=not args.enrol_new) as gallery:
        model, name = trained(weights_for(gallery, args.model))
        embedder = TrackletEmbedder(model, device=args.device)
        print(f"{detector_line(job)}\nweights   {name}\ngallery   {summary(args.gallery, gallery)}", file=sys.stderr)
        if not len(gallery):
            print("stmga: the gallery is empty, so that everybody is new; see `stmga enrol`", file=sys.stderr)
        verdicts: Counter[str] = Counter()
        for seen in watch_(
            job, gallery, embedder, frames=args.frames, known=args.known, new=args.new, enrol_new=args.enrol_new,
            progress=not args.quiet,
        ):  # fmt: skip
            print(json.dumps(seen.to_dict()), flush=True)
            verdicts[seen.verdict] += 1
        counts = ", ".join(f"{n:,} {verdict}" for verdict, n in sorted(verdicts.items()))
        print(f"ended     {counted(verdicts.total(), 'tracklet')}{f': {counts}' if counts else ''}", file=sys.stderr)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"watch": watch}
