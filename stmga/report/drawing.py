"""Videos with boxes and global identities drawn in."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stmga.calibration import Calibration
from stmga.people.identities import Identities
from stmga.report.boxes import Boxes, draw_box, videos_of
from stmga.report.drawn import record_drawn, remove_drawn
from stmga.report.identities import UNSURE, verdict_of
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.tracklet import Tracklet
from stmga.tracklets.video import pictures
from stmga.tracklets.video_file import VideoError, require_av
from stmga.utils.files import atomic_path
from stmga.utils.progress import progress_bar

logger = logging.getLogger(__name__)

CODECS = {"libx264": {"crf": "23", "preset": "veryfast"}, "mpeg4": {"q:v": "4"}}  # the first that is there
TICKS = 60_000  # of a second: time stamps of the written video; MPEG-4 has at most 65,535
USUAL = 25.0  # frames per second where the video has no time stamps


@dataclass(frozen=True)
class DrawnVideo:
    """What was written: the file, how many frames it has, and how many boxes are drawn in them.

    ``missing`` is how many boxes are of frames after the end of the video.
    """

    path: Path
    frames: int
    boxes: int
    missing: int


def draw_video(
    video: str | os.PathLike[str],
    tracklets: Sequence[Tracklet],
    identities: Identities,
    out: str | os.PathLike[str],
    *,
    calibration: Calibration | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: bool = False,
) -> DrawnVideo:
    """Write a video again, as MP4 without sound, with a box and the number of the identity on every tracklet.

    An identity has one colour in all videos. The boxes of tracklets that are unsure are dashed, and have a question
    mark. The video is decoded once, from beginning to end; memory does not grow with its length.

    Args:
        video: a file that frames of the tracklets are in.
        tracklets: with boxes in the frames of a video; those of other videos are left out.
        identities: of these tracklets, from :func:`stmga.link`.
        out: the file to write, whole or not at all.
        calibration: of the embeddings, for what is unsure.

    Raises:
        ValueError: no tracklet has a box in this video, a tracklet has no identity, or ``out`` is the video itself.
        VideoError: the video cannot be read. One that ends in damage is written up to there, with a warning.
        ImportError: PyAV is not installed.
        OSError: the file cannot be written.
    """
    video, out = Path(video), Path(out)
    if out.exists() and video.exists() and os.path.samefile(video, out):
        raise ValueError(f"{out} is the video itself; give another name for the one with boxes")
    rows = {row.tracklet: row for row in identities}
    if absent := [t.id for t in tracklets if t.id not in rows]:
        raise ValueError(f"{len(absent):,} tracklets have no identity, the first is {absent[0]!r}; link them too")
    boxes = Boxes(video, ((index, tracklet) for index, tracklet in enumerate(tracklets)))
    if not boxes.count:
        raise ValueError(f"no tracklet has a box in a frame of {video}")
    labels = [(rows[t.id].identity, verdict_of(rows[t.id], identities, calibration) == UNSURE) for t in tracklets]
    frames = drawn = 0
    with atomic_path(out) as temp, _written(temp) as writer:
        for number, (seconds, picture) in enumerate(_until_damage(video, max_pixels, progress)):
            image = Image.fromarray(picture)
            for index, box in boxes.at(number):
                draw_box(image, box, *labels[index])
                drawn += 1
            writer.write(np.asarray(image), seconds)
            frames = number + 1
    missing = len(boxes) - drawn
    if missing:
        logger.warning("%s has %s frames: %s boxes are after its end", video, f"{frames:,}", f"{missing:,}")
    return DrawnVideo(out, frames, drawn, missing)


def draw_videos(
    tracklets: Sequence[Tracklet],
    identities: Identities,
    folder: str | os.PathLike[str],
    *,
    calibration: Calibration | None = None,
    max_pixels: int = MAX_PIXELS,
    progress: bool = False,
) -> list[DrawnVideo]:
    """:func:`draw_video` for every video of the tracklets, as ``folder/<camera>.mp4``.

    A camera with several videos has ``<camera>-<video>.mp4``. Letters of a camera's name that do not belong in a file
    name are replaced by ``_``. Videos that an earlier call wrote are removed; ``drawn.json`` has their names.

    Raises:
        ValueError: no tracklet is of a video; otherwise as :func:`draw_video`.
    """
    videos = videos_of(tracklets)
    if not videos:
        raise ValueError("no tracklet has frames of a video, so there is none to draw in")
    Path(folder).mkdir(parents=True, exist_ok=True)
    names = file_names(videos)
    remove_drawn(Path(folder))
    record_drawn(Path(folder), names)
    return [
        draw_video(
            video,
            tracklets,
            identities,
            Path(folder) / name,
            calibration=calibration,
            max_pixels=max_pixels,
            progress=progress,
        )
        for video, name in zip(videos, names, strict=True)
    ]


def file_names(videos: dict[Path, Any]) -> list[str]:
    """Names of files for the drawn videos; no two are the same.

    >>> file_names({Path("a/x.mp4"): "door", Path("b/x.mp4"): "../hall", Path("c/y.mp4"): "door"})
    ['door-x.mp4', '_hall.mp4', 'door-y.mp4']
    """
    several = Counter(map(str, videos.values()))
    names: list[str] = []
    for video, camera in videos.items():
        name = video.stem if camera is None else str(camera)
        name = _safe(f"{name}-{video.stem}" if several[str(camera)] > 1 and camera is not None else name)
        while f"{name}.mp4".casefold() in map(str.casefold, names):
            name += "_"
        names.append(f"{name}.mp4")
    return names


def _safe(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name, flags=re.ASCII).lstrip(".")[:100] or "video"


def _until_damage(video: Path, max_pixels: int, progress: bool) -> Iterator[tuple[float | None, np.ndarray]]:
    """The pictures of a video, up to where it cannot be read any further."""
    count = 0
    try:
        for found in progress_bar(pictures(video, max_pixels), desc=video.name, unit="frame", shown=progress):
            yield found
            count += 1
    except VideoError as error:
        if not count:
            raise
        logger.warning("%s is drawn up to frame %s: %s", video, f"{count - 1:,}", error)


@contextmanager
def _written(path: Path) -> Iterator[_Writer]:
    with require_av().open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        writer = _Writer(container)
        yield writer
        writer.end()


class _Writer:
    """Encodes pictures into an open MP4 file, with their time stamps."""

    def __init__(self, container: Any) -> None:
        self.container, self.last = container, -1
        self.stream: Any = None

    def write(self, picture: np.ndarray, seconds: float | None) -> None:
        """Append a picture; one without a time stamp, or with one that does not rise, follows at the usual step."""
        if self.stream is None:
            self.stream = self._stream(*_even(picture).shape[1::-1])
        frame = require_av().VideoFrame.from_ndarray(_even(picture), format="rgb24")
        size = self.stream.width, self.stream.height  # the size of pictures may change within a video
        if (frame.width, frame.height) != size:
            frame = frame.reformat(*size)
        stamp = None if seconds is None else round(seconds * TICKS)
        if stamp is None or stamp <= self.last:
            stamp = self.last + round(TICKS / USUAL) if self.last >= 0 else 0
        frame.pts, frame.time_base, self.last = stamp, Fraction(1, TICKS), stamp
        self.container.mux(self.stream.encode(frame))

    def end(self) -> None:
        """Write what the encoder still has."""
        if self.stream is not None:
            self.container.mux(self.stream.encode(None))

    def _stream(self, width: int, height: int) -> Any:
        codec = next(name for name in CODECS if name in require_av().codecs_available)
        stream = self.container.add_stream(codec, rate=round(USUAL), options=CODECS[codec])
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        return stream


def _even(picture: np.ndarray) -> np.ndarray:
    """An odd width or height becomes even, which the colour format asks for, by repeating the last column or row."""
    height, width = picture.shape[:2]
    if not (height % 2 or width % 2):
        return picture
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
