"""The command that finds and follows persons in videos."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.options import add_max_pixels, device_name
from stmga.cli.parser import command, count, folder_named
from stmga.utils.text import counted

if TYPE_CHECKING:
    from stmga.people.track_folder import VideoSummary
    from stmga.people.tracking import Job

NOTE = """Film and track only people who know and agree, or where the law allows it."""


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga track door.mp4 hall.mp4 -o tracks
  stmga track door=monday.mp4 -o tracks --start 2026-11-28T10:00:00+01:00 --region "0,200 400,180 400,480 0,480"
  stmga track door.mp4 -o tracks --detector torchvision:fasterrcnn_mobilenet_v3_large_320_fpn
  stmga track door=rtsp://10.0.0.7/stream -o tracks --seconds 600

then: stmga embed tracks/manifest.jsonl -o tracks.safetensors

"""
    add = command(commands, "track", "find and follow the persons in videos", example + NOTE).add_argument
    add("-o", "--out", metavar="DIR", required=True, help="folder for manifest.jsonl and a MOT file for each camera")
    add_tracking(add)
    add("-q", "--quiet", action="store_true", help="no progress bar")


def add_tracking(add: Callable[..., Any], *, one: bool = False) -> None:
    """The videos, or only one, and the arguments that decide what is found in them."""
    add(
        "videos",
        metavar="VIDEO",
        nargs=1 if one else "+",
        help="file, NAME=file, camera (0, /dev/video0) or address (rtsp://...)",
    )
    add(
        "--detector",
        metavar="NAME",
        help="motion (fixed cameras, no download), torchvision:NAME, rfdetr[:SIZE], a MOT file of detections, or a "
        "folder of them; default: torchvision's if its weights are on the disk, otherwise motion",
    )
    add(
        "--tracker", default="bytetrack", metavar="NAME",
        help="bytetrack, sort, ocsort, botsort or cbiou (default: bytetrack)",
    )  # fmt: skip
    add(
        "--start", action="append", default=[], metavar="[NAME=]TIME",
        help="when the first frame was filmed, as 2026-11-28T10:00:00+01:00; for each camera",
    )  # fmt: skip
    add(
        "--region", action="append", default=[], metavar="[NAME=]POLYGON",
        help='count only persons whose feet are inside, "x,y x,y x,y ..." in pixels; for each camera',
    )  # fmt: skip
    add("--min-frames", type=count, metavar="N", help="leave out shorter tracks (default: half a second)")
    add("--seconds", type=float, metavar="S", help="read a live source for so long (default: until it ends or Ctrl-C)")
    add("--device", type=device_name, default="cpu", help="where networks run, such as cpu or cuda:0 (default: cpu)")
    add_max_pixels(add)


def track(args: argparse.Namespace) -> None:
    """One tracklet for each stay of a person in the picture of a camera."""
    tracked(job_of(args), folder_named(args.out), progress=not args.quiet)


def job_of(args: argparse.Namespace) -> Job:
    """The videos and what :func:`add_tracking` asks for; what is wrong with it is found here."""
    from stmga.people.tracking import Job, TrackSettings
    from stmga.tracklets.limits import MAX_PIXELS

    settings = TrackSettings(
        detector=args.detector,
        tracker=args.tracker,
        start=args.start,
        region=args.region,
        min_frames=args.min_frames,
        seconds=args.seconds,
        device=args.device,
        max_pixels=args.max_pixels or MAX_PIXELS,
    )
    return Job(args.videos, settings)


def detector_line(job: Job) -> str:
    """What finds the persons, and why, as a line of output."""
    return f"detector  {job.detectors.name}" + (f" ({job.detectors.notice})" if job.detectors.notice else "")


def tracked(job: Job, folder: Path, *, progress: bool) -> list[VideoSummary]:
    """Track into a folder, and print what was found in each video."""
    from stmga.people.tracking import write_tracks

    print(detector_line(job))
    summaries = write_tracks(job, folder, progress=progress, tell=_tell)
    tracks = sum(summary.tracks for summary in summaries)
    print(f"wrote     {folder / 'manifest.jsonl'}: {tracks:,} tracklets of {counted(len(summaries), 'camera')}")
    return summaries


def _tell(summary: VideoSummary, again: bool) -> None:
    """What came out of one video."""
    dropped = f", {counted(summary.dropped, 'shorter track')} left out" if summary.dropped else ""
    known = " (done before)" if again else ""
    print(f"{summary.camera}: {counted(summary.tracks, 'track')} in {counted(summary.frames, 'frame')}{dropped}{known}")
    if summary.damage:
        print(f"  damage  {summary.damage}")
    if summary.clipped or summary.outside:
        print(f"  boxes   {summary.clipped:,} clipped to the picture, {summary.outside:,} outside left out")
    if summary.clock:
        print(f"  clock   {summary.clock}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"track": track}
