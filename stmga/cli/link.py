"""The command that groups tracklets into persons."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from stmga.cli.pages import add_report, check_report, write_report, write_videos
from stmga.cli.parser import check_exists, command

FILES = ("identities.jsonl", "identities.csv")


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga link door.safetensors hall.safetensors -o people
  stmga link door.safetensors hall.safetensors -o people --known people/corrected.jsonl"""
    summary = "give every person one identity, over all cameras"
    add = command(commands, "link", summary, example).add_argument
    add("embeddings", metavar="EMBEDDINGS", nargs="+", help="files of `stmga embed`, of the same weights")
    add("-o", "--out", metavar="DIR", required=True, help="folder for identities.jsonl, identities.csv and report.html")
    add("--threshold", type=float, help="score from which two groups of tracklets are one person")
    add(
        "--false-match-rate",
        type=float,
        metavar="RATE",
        help="take the threshold that the calibration has for this rate (default: 0.001)",
    )
    add(
        "--known",
        metavar="FILE",
        help="identities.jsonl with `person` filled in by hand: those with one name stay together, others apart",
    )
    add("--tracklets", metavar="MANIFEST", help="the frames of the tracklets: the report shows several of each")
    add_report(add)


def link(args: argparse.Namespace) -> None:
    """One identity for each person."""
    from pathlib import Path

    from stmga.embedding.embeddings import Embeddings
    from stmga.embedding.embeddings_file import find_file
    from stmga.people import link as link_
    from stmga.people import read_known
    from stmga.tracklets import read_manifest
    from stmga.utils.foreign import escaped

    for path in args.embeddings:
        find_file(path)
    if args.known:
        check_exists(args.known)
    folder = Path(args.out)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; give the name of a folder")
    known = read_known(args.known) if args.known else None
    embeddings = Embeddings.concatenate(map(Embeddings.load, args.embeddings))
    tracklets = read_manifest(args.tracklets) if args.tracklets else []
    has_report = check_report(args, embeddings, tracklets)
    people = link_(embeddings, threshold=args.threshold, false_match_rate=args.false_match_rate, known=known)
    folder.mkdir(parents=True, exist_ok=True)
    for name in FILES:
        people.save(folder / name)
    rate = "" if people.false_match_rate is None else f" (false-match rate {people.false_match_rate:g})"
    cameras = len({row.camera for row in people} - {None})
    model = escaped(embeddings.model) or "unnamed weights"
    print(f"{len(embeddings):,} tracklets of {cameras:,} cameras; vectors by {model}")
    print(f"linked    from a score of {people.threshold:.3f}{rate}")
    print(f"persons   {len(people):,}, {people.alone:,} of them with one tracklet")
    print(f"wrote     {folder / FILES[0]} and {FILES[1]}")
    if has_report:
        write_report(args, people, embeddings, tracklets)
    if args.video:
        write_videos(args, people, embeddings, tracklets)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"link": link}
