"""The folder of tracks, written as they end: a manifest, a MOT file for each camera, and what has been done."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from stmga.people.sources import Source
from stmga.people.tracks import Track
from stmga.tracklets.manifest import manifest_line
from stmga.tracklets.track_writer import track_line
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.claim import FolderClaim
from stmga.utils.files import atomic_write
from stmga.utils.foreign import MB, parse_json, read_regular


def _described(name: str, before: Any, now: Any) -> str:
    """How a setting of a folder differs from that of this call.

    >>> _described("start.door", None, "2026-11-28T10:00:00+01:00")
    'the start of door was not given, now 2026-11-28T10:00:00+01:00'
    """
    what, _, camera = name.partition(".")
    if what == "videos":
        whole = before or now
        if isinstance(whole, dict):  # all of one camera; otherwise the last part of the name is a property
            return f"the videos differ: {camera} is {'new' if before is None else 'not among them any more'}"
        camera, _, found = camera.rpartition(".")
        if found in ("bytes", "modified") or None in (before, now):
            return f"the video of {camera} has changed since"
        what = "video"
    if what == "detections":
        return "the files of detections differ"
    before, now = ("not given" if value is None else value for value in (before, now))
    return f"the {what} of {camera} was {before}, now {now}" if camera else f"{what} was {before}, now {now}"


CLAIM = FolderClaim(
    file="track.json",
    what="a folder of tracks",
    other="has tracks of other videos or settings",
    describe=_described,
)
MANIFEST, DONE = "manifest.jsonl", "videos.json"


@dataclass(frozen=True, kw_only=True)
class VideoSummary:
    """What came out of one video.

    Attributes:
        camera, address: of the source.
        frames, fps: how many were read, and per second.
        tracks: how many persons were tracked.
        dropped: shorter tracks that were left out.
        clipped, outside: boxes that reached over the edge of the picture, and boxes outside of it.
        damage: what could not be read, or "".
        clock: how times were found.
    """

    camera: str
    address: str
    frames: int
    fps: float
    tracks: int
    dropped: int
    clipped: int = 0
    outside: int = 0
    damage: str = ""
    clock: str = ""


class TrackFolder:
    """Writes tracks; a killed run resumes after the last video that was finished.

    Every line is written at once and whole, so that what is there is valid whenever the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = folder / MANIFEST
        self.done: dict[str, dict[str, Any]] = {}

    @contextmanager
    def claimed(self, about: Mapping[str, Any]) -> Iterator[TrackFolder]:
        """Inside, the folder belongs to this process; only the same call may claim it again.

        An error before any finished video has a track frees the folder for other settings. It stays claimed where the
        same call may resume (Ctrl-C, a full disk), and where it has crops of a live source, which cannot be read again.
        """
        with CLAIM.hold(self.folder, about):
            with suppress(FileNotFoundError):
                self.done = parse_json(read_regular(self.folder / DONE, 64 * MB))
            try:
                yield self
            except (OSError, MemoryError):
                raise
            except Exception:
                cameras = list(about["videos"])
                found = any(entry["tracks"] for entry in self.done.values())
                if not found and not any((self.folder / camera).exists() for camera in cameras):
                    self.remove(cameras)
                raise

    def summary(self, camera: str) -> VideoSummary | None:
        """Of a video that is finished."""
        if camera not in self.done:
            return None
        return VideoSummary(**{key: value for key, value in self.done[camera].items() if key != "manifest_bytes"})

    def remove(self, cameras: Iterable[str]) -> None:
        """Remove what was written, so that the folder can be claimed for other settings."""
        files = [name for camera in cameras for name in (f"{camera}.txt", _detections(camera))]
        for name in (*files, MANIFEST, DONE, CLAIM.file):  # the claim last: without it, other files block the folder
            (self.folder / name).unlink(missing_ok=True)

    @contextmanager
    def video(self, source: Source, sees_all_frames: bool) -> Iterator[VideoWriter]:
        """Writes the tracks of one video, from its beginning: those of an earlier attempt are removed."""
        size = max((entry["manifest_bytes"] for entry in self.done.values()), default=0)
        tracks = self.folder / f"{source.camera}.txt"
        if source.live and tracks.exists():
            raise ValueError(f"{self.folder} has an interrupted recording of {source.camera}; name a new folder")
        with open(self.manifest, "ab", buffering=0) as manifest, open(tracks, "wb", buffering=0) as mot:
            manifest.truncate(size)
            yield VideoWriter(self, source, manifest, mot, sees_all_frames)

    def finish(self, summary: VideoSummary) -> None:
        """A video is finished: it is not read again."""
        self.done[summary.camera] = asdict(summary) | {"manifest_bytes": self.manifest.stat().st_size}
        atomic_write(self.folder / DONE, (json.dumps(self.done, indent=2, ensure_ascii=False) + "\n").encode())
        with suppress(FileNotFoundError):
            (self.folder / _detections(summary.camera)).unlink()


class VideoWriter:
    """Writes what is found in one video."""

    def __init__(
        self, folder: TrackFolder, source: Source, manifest: BinaryIO, mot: BinaryIO, sees_all_frames: bool
    ) -> None:
        self.folder, self.source, self.manifest, self.mot = folder.folder, source, manifest, mot
        self.detections = None if source.live or sees_all_frames else self.folder / _detections(source.camera)

    def write(self, track: Track, tracklet: Tracklet) -> None:
        """A track that has ended."""
        rows = (track_line(frame, track.number, box, score, -1, -1, -1) for frame, box, score in track.rows())
        self.mot.write("".join(rows).encode())
        self.manifest.write(manifest_line(tracklet, self.folder).encode())

    def save_crop(self, number: int, frame: int, jpeg: bytes) -> Path:
        """A crop of a live source: ``<camera>/<track>/<frame>.jpg``."""
        file = self.folder / self.source.camera / f"{number:06}" / f"{frame:08}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(jpeg)
        return file


def _detections(camera: str) -> str:
    """The file of what a detector has found so far, from which a killed run resumes."""
    return f".{camera}.detections"
