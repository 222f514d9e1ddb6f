"""The command that groups tracklets into persons."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.pages import add_report, can_report, check_options, write_report, write_videos
from stmga.cli.parser import check_exists, command, folder_named
from stmga.utils.text import counted, preview

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings
    from stmga.people import Identities
    from stmga.tracklets.tracklet import Tracklet

FILES = ("identities.jsonl", "identities.csv")


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga link door.safetensors hall.safetensors -o people
  stmga link all.safetensors --tracklets tracks/manifest.jsonl -o people
  stmga link all.safetensors --known people/manifest.jsonl -o corrected
  stmga link all.safetensors --travel door:hall=20..300 -o people"""
    summary = "give every person one identity, over all cameras"
    add = command(commands, "link", summary, example).add_argument
    add("embeddings", metavar="EMBEDDINGS", nargs="+", help="files of `stmga embed`, of the same weights")
    add("-o", "--out", metavar="DIR", required=True, help="folder for identities.jsonl, identities.csv and report.html")
    add(
        "--tracklets", metavar="MANIFEST", action="append", default=[],
        help="the tracklets of these embeddings: writes them again with persons, and a track file for each camera",
    )  # fmt: skip
    add_linking(add)
    add_report(add)


def add_linking(add: Callable[..., Any]) -> None:
    """The arguments that decide who is one person."""
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
        help="identities.jsonl or a manifest with `person` filled in by hand: one name stays together, others apart",
    )
    add(
        "--travel",
        metavar="A:B=20..300",
        action="append",
        default=[],
        help="how many seconds people take between two cameras, in both directions; needs tracklets with times",
    )


def link(args: argparse.Namespace) -> None:
    """One identity for each person."""
    from stmga.embedding.embeddings import Embeddings
    from stmga.embedding.embeddings_file import find_file
    from stmga.tracklets.manifest import read_manifest

    for path in args.embeddings:
        find_file(path)
    folder = folder_named(args.out)
    check_options(args)
    options = linking_options(args)
    tracklets = [t for path in args.tracklets for t in read_manifest(path, check_files=False)]
    embeddings = Embeddings.concatenate(map(Embeddings.load, args.embeddings))
    pictures = not args.no_pictures
    shown = {"pictures": pictures, "parts": args.parts, "model": args.model}
    has_report = can_report(folder, embeddings, tracklets, **shown)
    people = linked(embeddings, options)
    write_people(folder, people, tracklets)
    if has_report:
        write_report(folder, people, embeddings, tracklets, **shown)
    if args.video:
        write_videos(folder, people, embeddings, tracklets)


def write_people(folder: Path, people: Identities, tracklets: Sequence[Tracklet]) -> None:
    """Write the identities, and if there are tracklets, their manifest and track files; print what was written."""
    from stmga.people import save_tracks, with_persons
    from stmga.report.drawn import remove_drawn

    if tracklets:
        with_persons(people, tracklets)  # refuses other tracklets before anything is written
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / FILES[0]
    before = first.read_bytes() if first.is_file() else b""
    written = [people.save(folder / name) for name in FILES]
    if before and before != first.read_bytes() and (stale := remove_drawn(folder)):
        print(f"removed   {preview(file.name for file in stale)}: an earlier result was drawn in")
    if tracklets:
        written += save_tracks(people, tracklets, folder)
    print(f"wrote     {', '.join(file.name for file in written)} in {folder}")


def linking_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of :func:`stmga.link` that :func:`add_linking` asks for; files are read here."""
    from stmga.people import TravelTime, read_known

    if args.known:
        check_exists(args.known)
    return {
        "threshold": args.threshold,
        "false_match_rate": args.false_match_rate,
        "known": read_known(args.known) if args.known else None,
        "travel": [TravelTime.parse(text) for text in args.travel],
    }


def linked(embeddings: Embeddings, options: Mapping[str, Any]) -> Identities:
    """Link, and print what was found and from which score."""
    from stmga.people import link as link_
    from stmga.utils.foreign import escaped

    people = link_(embeddings, **options)
    cameras = len({str(row.camera) for row in people if row.camera is not None})
    model = escaped(embeddings.model) or "unnamed weights"
    print(f"{counted(len(embeddings), 'tracklet')} of {counted(cameras, 'known camera')}; vectors by {model}")
    rate, data = "", ""
    if people.false_match_rate is not None and embeddings.calibration is not None:
        rate = f" (false-match rate {people.false_match_rate:g})"
        data = f"; measured on {escaped(embeddings.calibration.data)}" if embeddings.calibration.data else ""
    if known := options.get("known"):
        used = set(known) & set(embeddings.ids)
        print(f"known     {counted(len(used), 'tracklet')} of {counted(len(set(map(str, known.values()))), 'person')}")
    if unclocked := sum(row.time is None or row.end_time is None for row in people) - people.without_times:
        print(f"clocks    unknown for {counted(unclocked, 'tracklet')} (see --start of `stmga track`): only within one "
              "video is it known who was there at the same time")  # fmt: skip
    print(f"linked    from a score of {people.threshold:.3f}{rate}{data}")
    print(f"persons   {len(people):,}, {people.alone:,} of them with one tracklet")
    return people


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"link": link}
