"""The options of commands that write a page to look at, and what they print about it."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.utils.text import preview

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings
    from stmga.people import Identities
    from stmga.report import Report
    from stmga.tracklets.tracklet import Tracklet


def add_report(add: Callable[..., Any]) -> None:
    """The options of the page of identities."""
    add_no_pictures(add)
    add(
        "--parts", metavar="TRACKLET", nargs="+", default=[],
        help="draw where the parts of the network look in these tracklets of --tracklets; needs --model",
    )  # fmt: skip
    add("--model", metavar="NAME", help="the weights that made the embeddings, for --parts")
    add("--video", action="store_true", help="draw boxes and identities into the videos of --tracklets: DIR/CAMERA.mp4")


def add_no_pictures(add: Callable[..., Any]) -> None:
    """The option that leaves pictures of people out."""
    add("--no-pictures", action="store_true", help="write no picture of anyone")


def check_options(args: argparse.Namespace) -> None:
    """Raise ValueError for options of :func:`add_report` that contradict each other."""
    if args.parts and not args.model:
        raise ValueError("--parts needs --model NAME, the weights that made the embeddings")
    if args.model and not args.parts:
        raise ValueError("--model is the network of --parts; give --parts TRACKLET too")
    if args.video and not args.tracklets:
        raise ValueError("--video needs --tracklets MANIFEST, with the boxes in the videos")
    check_shown(args)


def check_shown(args: argparse.Namespace) -> None:
    """Raise ValueError if people are to be shown, and not to be shown."""
    if args.video and args.no_pictures:
        raise ValueError("--video shows people, and --no-pictures does not; give one of them")


def can_report(
    folder: str | Path,
    embeddings: Embeddings,
    tracklets: Sequence[Tracklet],
    *,
    pictures: bool,
    parts: Sequence[str] = (),
    model: str | None = None,
) -> bool:
    """Whether a report can be written, before any work; if not, because Jinja2 is not installed, this is printed.

    Raises:
        ValueError: the folder cannot take it, a part names no tracklet, or the model did not make the embeddings.
    """
    from stmga.cli.options import trained
    from stmga.report import check_report

    network = trained(model)[0] if model else None
    try:
        check_report(embeddings, folder, tracklets=tracklets, pictures=pictures, parts=parts, model=network)
    except ImportError as error:
        print(f"report    left out: {error}")
        return False
    return True


def write_report(
    folder: str | Path,
    people: Identities,
    embeddings: Embeddings,
    tracklets: Sequence[Tracklet],
    *,
    pictures: bool,
    parts: Sequence[str] = (),
    model: str | None = None,
    progress: bool = True,
) -> None:
    """Write the page of identities into a folder, and print where it is and what it lacks."""
    from stmga.cli.options import trained
    from stmga.report import write_report as write

    network = trained(model)[0] if model else None
    report = write(
        people, embeddings, folder, tracklets=tracklets, pictures=pictures, parts=parts, model=network,
        progress=progress,
    )  # fmt: skip
    print_report(report, "report    ")


def print_report(report: Report, name: str = "") -> None:
    """Where a page is, and what it lacks."""
    made = f"{report.pictures:,} pictures" if report.pictures else "no pictures"
    reused = f", {report.reused:,} of them reused" if report.reused else ""
    replaced = "; replaced an earlier page" if report.replaced else ""
    print(f"{name}{report.path} ({made}{reused}{replaced})")
    if report.failed:
        print(f"          no picture of {len(report.failed):,} tracklets: {preview(report.failed)}; the page says why")


def write_videos(
    folder: str | Path,
    people: Identities,
    embeddings: Embeddings,
    tracklets: Sequence[Tracklet],
    *,
    progress: bool = True,
) -> None:
    """Write the videos with boxes into a folder, and print where they are."""
    from stmga.report import draw_videos

    for video in draw_videos(tracklets, people, folder, calibration=embeddings.calibration, progress=progress):
        print(f"video     {video.path} ({video.frames:,} frames, {video.boxes:,} boxes)")
