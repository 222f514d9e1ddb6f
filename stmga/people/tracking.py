"""From videos to tracklets: decode, detect, track, write."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stmga._version import __version__
from stmga.people.clock import start_time
from stmga.people.detectors import Detector, Detectors
from stmga.people.region import Region
from stmga.people.sources import Source, Video, by_camera, sources_of
from stmga.people.track_folder import MANIFEST, TrackFolder, VideoSummary
from stmga.people.trackers import check_tracker
from stmga.people.video_run import VideoRun
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.tracklet import Tracklet
from stmga.tracklets.video_file import VideoError
from stmga.tracklets.video_frames import VideoFrames
from stmga.utils.text import counted, preview

logger = logging.getLogger(__name__)


class NoPersonError(ValueError):
    """Nobody was found in any of the videos."""


@dataclass(kw_only=True)
class TrackSettings:
    """What tracks depend on.

    Args:
        detector: a name, a file or folder of detections, or a function ``frame (h, w, 3) uint8 RGB -> boxes (n, 4),
            scores (n,)``, boxes as x1, y1, x2, y2 in pixels; default: torchvision's if its weights are on the disk,
            otherwise ``motion``. A folder knows a function by its name only: name another one if the function changes.
        tracker: a name of :data:`stmga.people.trackers.TRACKERS`, or an object with its ``update``.
        start: time of the first frame, with time zone: ``"2026-11-28T10:00:00+01:00"``, ``"NAME=..."`` where there are
            several cameras, or ``{camera: text}``.
        region: ``"x,y x,y x,y ..."``, a polygon in pixels: only persons whose feet are inside. By camera as ``start``.
        min_frames: shorter tracks are left out; default: half a second, and at least 3.
        device: where the network of a detector runs.
        person_class: what a detector gives to persons, if it returns ``supervision.Detections`` without class names.
        seconds: a live source is read for so long; default: until it ends.
        max_pixels: larger pictures are an error.
    """

    detector: str | os.PathLike[str] | Detector | None = None
    tracker: str | Any = "bytetrack"
    start: str | Iterable[str] | Mapping[str, str] = ()
    region: str | Iterable[str] | Mapping[str, str] = ()
    min_frames: int | None = None
    device: str = "cpu"
    person_class: int | None = None
    seconds: float | None = None
    max_pixels: int = MAX_PIXELS


class Job:
    """The videos, and what is done with them; all that can be wrong with the arguments is found here.

    Raises:
        ValueError: an argument that does not fit.
        ImportError: a library is missing; the message names what to install.
        OSError: a file is missing.
    """

    def __init__(self, videos: Video | Iterable[Video], settings: TrackSettings) -> None:
        self.sources, self.settings = sources_of(videos), settings
        texts = {what: _texts(getattr(settings, what)) for what in ("start", "region")}
        starts, regions = (by_camera(texts[what], self.sources, what) for what in texts)
        self.starts = {camera: start_time(text) for camera, text in starts.items()}
        self.start_texts = {camera: text.strip() for camera, text in starts.items()}
        self.regions = {camera: Region.parse(text) for camera, text in regions.items()}
        if isinstance(settings.tracker, str):
            check_tracker(settings.tracker)
        if settings.min_frames is not None and settings.min_frames < 1:
            raise ValueError(f"min_frames must be at least 1, got {settings.min_frames}")
        if settings.seconds is not None and not settings.seconds > 0:
            raise ValueError(f"seconds must be more than 0, got {settings.seconds}")
        path = isinstance(settings.detector, os.PathLike)
        self.detectors = Detectors(os.fspath(settings.detector) if path else settings.detector, settings.device)  # type: ignore[arg-type]
        if self.detectors.path is not None and self.detectors.path.is_file() and len(self.sources) > 1:
            raise ValueError(f"{self.detectors.path} has the detections of one video, got {len(self.sources)}: "
                             "give a folder that has <camera>.txt for each")  # fmt: skip

    def about(self) -> dict[str, Any]:
        """Everything that the output depends on, as JSON values."""
        settings = self.settings
        tracker = settings.tracker if isinstance(settings.tracker, str) else type(settings.tracker).__qualname__
        return {
            "videos": {source.camera: _identity(source) for source in self.sources},
            "detector": self.detectors.name,
            "detections": None if self.detectors.path is None else _state(self.detectors.path),
            "tracker": tracker,
            "start": self.start_texts,
            "region": {camera: str(region) for camera, region in self.regions.items()},
            "min_frames": settings.min_frames,
            "person_class": settings.person_class,
            "seconds": settings.seconds,
            "version": __version__,
        }

    def check_videos(self) -> None:
        """Decode the first picture of every file, so that a broken one is found before hours of work on the others.

        Live sources are not opened: the first picture of a live source cannot be read again.

        Raises:
            VideoError: a file that cannot be opened or has no picture; the message names it.
        """
        for source in self.sources:
            if not source.live:
                with VideoFrames(source.address, max_pixels=self.settings.max_pixels) as video:
                    if next(iter(video), None) is None:
                        raise VideoError(f"cannot decode {source.address}: it has no readable picture; copy it again")

    def run(self, source: Source, progress: bool) -> VideoRun:
        """One video, opened."""
        settings = self.settings
        return VideoRun(
            source,
            self.detectors,
            settings.tracker,
            start=self.starts.get(source.camera),
            region=self.regions.get(source.camera),
            min_frames=settings.min_frames,
            person_class=settings.person_class,
            seconds=settings.seconds,
            max_pixels=settings.max_pixels,
            progress=progress,
        )


def track(
    videos: Video | Iterable[Video],
    *,
    folder: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **settings: Any,
) -> list[Tracklet]:
    """Find and follow the persons in videos: one tracklet for each stay of a person in the picture.

    Args:
        videos: one or more of a file, ``NAME=file``, a device, an address, or :class:`Source`. The name of a camera is
            that of its file unless it is given.
        folder: where the tracks are written, as ``stmga track`` does; a run that was killed resumes there. Without it,
            nothing is written. A live source needs it.
        progress: show a bar.
        **settings: of :class:`TrackSettings`.

    Returns:
        Tracklets over the videos: boxes of frames. Ids are ``<camera>-<number>``.

    Raises:
        ValueError: an argument that does not fit, a detector that returns something else (:class:`DetectorError`), a
            video that cannot be read, nobody found (:class:`NoPersonError`), or a folder of another run.
        ImportError: a library is missing; the message names what to install.

    Example::

        tracklets = stmga.people.track(["door.mp4", "hall.mp4"], detector="motion")
        embeddings = stmga.TrackletEmbedder(model)(tracklets)
    """
    job = Job(videos, TrackSettings(**settings))
    if folder is not None:
        write_tracks(job, folder, progress=progress)
        return read_manifest(Path(folder) / MANIFEST, check_files=False)
    if live := next((source for source in job.sources if source.live), None):
        raise ValueError(f"{live.public_address} can be read only once, so its crops must be written: pass folder=")
    job.check_videos()
    tracklets, summaries = [], []
    for source in job.sources:
        with job.run(source, progress) as run:
            tracklets += [tracklet for _, tracklet in run.tracks()]
            summaries.append(run.summary())
    _check_found(job, summaries)
    return tracklets


def write_tracks(
    job: Job,
    folder: str | os.PathLike[str],
    *,
    progress: bool = False,
    tell: Callable[[VideoSummary, bool], None] = lambda summary, again: None,
) -> list[VideoSummary]:
    """Track into a folder: ``manifest.jsonl``, ``<camera>.txt``, ``videos.json`` and ``track.json``.

    Tracks are written as they end, so memory does not grow with the length of a video. A killed run resumes: finished
    videos are kept. The unfinished one is read from its beginning, but a detector of single frames is not run again on
    those that it has seen.

    Args:
        tell: called after each video, with whether it was finished before.

    Raises:
        NoPersonError: nobody was found in any video.
        ValueError: the folder has other tracks.
    """
    job.check_videos()
    summaries: list[VideoSummary] = []
    with TrackFolder(Path(folder).absolute()).claimed(job.about()) as tracks:
        for source in job.sources:
            before = tracks.summary(source.camera)
            summary = before or _write_video(job, tracks, source, progress)
            summaries.append(summary)
            tell(summary, before is not None)
        if not any(summary.tracks for summary in summaries):
            tracks.remove(source.camera for source in job.sources)  # the folder is free for other settings
    _check_found(job, summaries)
    return summaries


def _write_video(job: Job, folder: TrackFolder, source: Source, progress: bool) -> VideoSummary:
    with ExitStack() as stack:
        run = stack.enter_context(job.run(source, progress))
        writer = stack.enter_context(folder.video(source, run.sees_all_frames))
        for track_, tracklet in run.tracks(writer):
            writer.write(track_, tracklet)
        summary = run.summary()
    folder.finish(summary)
    return summary


def _check_found(job: Job, summaries: list[VideoSummary]) -> None:
    """NoPersonError if nobody was found anywhere, and a warning if nobody was found in some videos."""
    without = [summary.camera for summary in summaries if not summary.tracks]
    if len(without) == len(summaries):
        dropped = sum(summary.dropped for summary in summaries)
        short = f" for long enough; {counted(dropped, 'shorter track')} left out" if dropped else ""
        other = "torchvision:fasterrcnn_resnet50_fpn_v2" if job.detectors.name == "motion" else "motion"
        raise NoPersonError(
            f"no person was found with the detector {job.detectors.name}{short}; try detector={other}, "
            f"a smaller min_frames, or a larger region"
        )
    if without:
        logger.warning("no person was found by %s, though the other cameras have some", preview(without))


def _texts(value: str | Iterable[str] | Mapping[str, str]) -> Iterable[str] | Mapping[str, str]:
    return [value] if isinstance(value, str) else value


def _identity(source: Source) -> dict[str, Any]:
    if source.live:
        return {"address": source.public_address}
    return {"file": str(Path(source.address).absolute()), **_state(Path(source.address))}


def _state(path: Path) -> dict[str, Any]:
    files: Iterator[Path] | list[Path] = sorted(path.glob("*.txt")) if path.is_dir() else [path]
    found = [os.stat(file) for file in files]
    return {"bytes": sum(s.st_size for s in found), "modified": max((s.st_mtime_ns for s in found), default=0)}
