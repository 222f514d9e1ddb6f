"""The command that answers who is who in videos: track, embed, link and report in one go."""

from __future__ import annotations

import argparse
import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.link import add_linking, linked, linking_options, write_people
from stmga.cli.options import MODEL, add_frames, trained
from stmga.cli.pages import add_no_pictures, can_report, check_shown, write_report, write_videos
from stmga.cli.parser import command, folder_named
from stmga.cli.track import NOTE, add_tracking, job_of, tracked
from stmga.utils.text import counted, preview

if TYPE_CHECKING:
    from stmga.embedding.embedder import TrackletEmbedder
    from stmga.embedding.embeddings import Embeddings
    from stmga.people.tracking import Job
    from stmga.tracklets.tracklet import Tracklet

ENOUGH = 10_000  # pairs of people seen together, from which thresholds are measured on the site itself


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga people door.mp4 hall.mp4 -o who
  stmga people door=monday.mp4 hall=h.mp4 -o who \\
      --start door=2026-11-28T10:00:00+01:00 --start hall=2026-11-28T10:02:00+01:00 --travel door:hall=20..300

DIR/people/report.html is the page to look at. DIR/tracks and DIR/vectors stay, and the same command reuses them.

"""
    summary = "find and follow the persons in videos, and give every person one identity over all cameras"
    add = command(commands, "people", summary, example + NOTE).add_argument
    add("-o", "--out", metavar="DIR", required=True, help="folder for tracks, vectors and people")
    add_tracking(add)
    add("--model", metavar="NAME", default=MODEL, help=f"the weights that make the vectors (default: {MODEL})")
    add_frames(add)
    add_linking(add)
    add_no_pictures(add)
    add("--video", action="store_true", help="draw boxes and identities into the videos: DIR/people/CAMERA.mp4")
    add("-q", "--quiet", action="store_true", help="no progress bar")


def people(args: argparse.Namespace) -> None:
    """Videos in, one identity for each person out."""
    from stmga.tracklets.manifest import read_manifest

    out, pictures, options = folder_named(args.out), not args.no_pictures, linking_options(args)
    job = job_of(args)
    embedder, name = _checked(args, job, out, options)
    fresh = not (out / "tracks").exists() and not (out / "vectors").exists()
    clock = _Clock()
    with clock.stage("track"):
        summaries = tracked(job, out / "tracks", progress=not args.quiet)
    tracklets = read_manifest(out / "tracks" / "manifest.jsonl", check_files=False, max_pixels=args.max_pixels)
    with clock.stage("embed"):
        embeddings = _embedded(args, out, tracklets, embedder, name)
    folder = out / "people"
    with clock.stage("link"):
        found = linked(embeddings, options)
        has_report = can_report(folder, embeddings, tracklets, pictures=pictures)
        write_people(folder, found, tracklets)
    with clock.stage("report"):
        if has_report:
            write_report(folder, found, embeddings, tracklets, pictures=pictures, progress=not args.quiet)
        if args.video:
            write_videos(folder, found, embeddings, tracklets, progress=not args.quiet)
    clock.print(sum(summary.frames for summary in summaries), fresh)


def _checked(args: argparse.Namespace, job: Job, out: Path, options: Mapping[str, Any]) -> tuple[TrackletEmbedder, str]:
    """The embedder and the name of its weights. Finds what is wrong with the options before hours of tracking."""
    from stmga.embedding.embedder import TrackletEmbedder
    from stmga.people.thresholds import link_thresholds
    from stmga.report.people import refuse_pictures

    check_shown(args)
    if args.no_pictures:
        refuse_pictures(out / "people")
    cameras = [source.camera for source in job.sources]
    for camera in (camera for one in options["travel"] for camera in one.cameras):
        if camera not in cameras:
            raise ValueError(f"--travel names camera {camera!r}, but the cameras are {preview(cameras)}")
        if camera not in job.starts:
            raise ValueError(f"--travel needs the clock of camera {camera!r}: add --start {camera}=TIME")
    model, name = trained(args.model)
    calibration = model.record.calibration if model.record else None
    link_thresholds(calibration, options["threshold"], options["false_match_rate"])
    return TrackletEmbedder(model, device=args.device, progress=not args.quiet), name


class _Clock:
    """How long each stage takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def print(self, frames: int, fresh: bool) -> None:
        """``fresh``: nothing was there before, so frames per second mean something."""
        total = sum(self.seconds.values())
        parts = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in self.seconds.items())
        speed = f"{frames / total:,.0f} frames/s: {counted(frames, 'frame')} in " if fresh else ""
        print(f"time      {speed}{total:.1f} s ({parts})")


def _embedded(
    args: argparse.Namespace, out: Path, tracklets: Sequence[Tracklet], embedder: TrackletEmbedder, name: str
) -> Embeddings:
    """The vectors of the tracklets, made or read again, with the calibration that fits the site best."""
    from stmga.utils.claim import FolderClaim

    manifest = out / "tracks" / "manifest.jsonl"
    about = {
        "weights": embedder.digest(),
        "frames": args.frames,
        "tracks": hashlib.sha256(manifest.read_bytes()).hexdigest(),
    }
    claim = FolderClaim(file="vectors.json", what="a folder of vectors", other="has vectors of other weights or tracks")
    with claim.hold(out / "vectors", about):
        embeddings = _made(embedder, args, tracklets, out / "vectors" / "tracklets.safetensors", name)
        return _calibrated(embedder, args, tracklets, embeddings, out / "vectors" / "halves.safetensors", name)


def _made(
    embedder: TrackletEmbedder, args: argparse.Namespace, tracklets: Sequence[Tracklet], file: Path, name: str
) -> Embeddings:
    from stmga.embedding.embeddings import Embeddings
    from stmga.embedding.resumable import embed_in_pieces
    from stmga.tracklets.preload import preload
    from stmga.tracklets.split import evenly

    if file.exists():
        print(f"vectors   {file} (made before)")
        return Embeddings.load(file)
    shorter = [evenly(tracklet, args.frames) for tracklet in tracklets]
    frames, used = sum(map(len, tracklets)), sum(map(len, shorter))
    embeddings = embed_in_pieces(embedder, shorter, file, name=name, load=preload)
    assert embeddings is not None  # this is the only process
    print(f"vectors   {file}: {counted(len(embeddings), 'tracklet')}, {used:,} of their {frames:,} frames; by {name}")
    return embeddings


def _calibrated(
    embedder: TrackletEmbedder, args: argparse.Namespace, tracklets: Sequence[Tracklet], embeddings: Embeddings,
    file: Path, name: str,
) -> Embeddings:  # fmt: skip
    """The embeddings with thresholds measured on this site, where it has enough people who are seen together."""
    from stmga.people.unlabelled import calibrate_unlabelled, seen_together
    from stmga.tracklets.split import halves

    rows, columns = seen_together(embeddings)
    pairs, together = len(rows), sorted({*rows.tolist(), *columns.tolist()})
    if args.threshold is not None:
        return embeddings
    if pairs < ENOUGH:
        seen = f"one camera saw {counted(pairs, 'pair')} of tracklets at the same time"
        print(f"threshold that of the weights ({seen}; from {ENOUGH:,} on it is measured on these videos)")
        return embeddings
    made = _made(embedder, args, halves([tracklets[row] for row in together]), file, name)
    embeddings.calibration = calibrate_unlabelled(made)
    print(f"threshold measured on these videos: {embeddings.calibration.describe()}")
    return embeddings


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"people": people}
