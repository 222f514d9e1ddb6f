"""Tracklets from a tracker: a track file over a folder of frames or a video."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

from stmga.tracklets.folders import list_folder
from stmga.tracklets.frame_numbers import frame_numbers
from stmga.tracklets.images import outside
from stmga.tracklets.limits import MAX_PIXELS
from stmga.tracklets.track_file import Row, TrackFile, read_track_file
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import SHARES, Size, check_tracklets, sizes_of
from stmga.utils.text import counted, preview

logger = logging.getLogger(__name__)
SLACK = 1.1  # how far beyond the frame predicted corners may be, as a factor of its size
Frames = dict[int, Path] | Path  # {number in the track file: image}, or the video itself


def read_mot(
    tracks: str | Path,
    frames: str | Path,
    *,
    camera: str | int | None = None,
    min_frames: int = 1,
    first_index: int | None = None,
    stride: int = 1,
    classes: Collection[str | int] | None = None,
    columns: str | None = None,
    check_files: bool = True,
    max_pixels: int | None = None,
) -> list[Tracklet]:
    """One tracklet for each track id of a track file; its frames are boxes of images in a folder, or of a video.

    Args:
        tracks: lines `frame,id,x,y,w,h,confidence,...` in any order; x, y, w, h in pixels, the corner is top left.
            MOT, VisDrone, KITTI and AI City files are recognised, and CSV with named columns. Lines with confidence 0
            are MOT's "to be ignored" and are left out.
        frames: a folder of images or a video file (needs `pip install "stmga[video]"`).
        camera: label for all of them. Ids are `<camera>-<track>`, or `<name of the track file>-<track>`. In a file
            with a column of cameras it chooses that camera's lines.
        min_frames: shorter tracks are left out.
        first_index: the number that the track file gives to the first frame; by default that of its format: 0 in KITTI
            and in a column named `frame_index`, else 1.
        stride: the tracker saw every n-th frame and counted only those.
        classes: numbers or names of the classes to read; default: all. A file of several is logged.
        columns: names of the columns in order, such as `"frame,id,x1,y1,x2,y2"`; overrides the file's header.
        check_files, max_pixels: as in `read_tracklets`. The headers of files are always read, for their sizes.

    Images are matched by the one number in their names that varies (see docs/use/tracklets.md). A frame whose box is
    completely outside the image is left out. One line of the log counts what is left out. All faults of the input are
    reported in one `TrackletError`, with line numbers.
    """
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise ValueError(f"stride must be an integer >= 1, got {stride!r}")
    tracks, frames = Path(tracks).absolute(), Path(frames).absolute()
    classes = [classes] if isinstance(classes, (str, int)) else classes
    file = read_track_file(tracks, columns=columns, classes=classes)
    first = file.first_index if first_index is None else first_index
    camera = _one_camera(file, camera)
    found = _by_track(file, first)
    where = _frame_files(frames, first)
    every = [row for rows in found.values() for row in rows]
    pictures = {row.line: picture for row in every if (picture := _frame(where, row, first, stride))}
    _say_absent(file, found, pictures, where, frames)
    sizes = sizes_of(pictures.values(), max_pixels or MAX_PIXELS)
    _check_corners(file, pictures, sizes)
    _leave_out_outside(file, pictures, sizes)
    name = tracks.stem if camera is None else camera
    tracklets, lines = [], []
    for track, rows in _long_enough(file, found, pictures, min_frames).items():
        kept, when = tuple(pictures[row.line] for row in rows), _when(where, frames, rows, first, stride)
        tracklets.append(Tracklet(f"{name}-{track}", kept, camera=camera, extra=when))
        lines.append([row.line for row in rows])
    _say(file)
    place = lambda n, i: f"{tracks}:{lines[n][i or 0]}"  # noqa: E731
    return check_tracklets(
        tracklets, check_files=check_files, place=place, faults=file.faults, sizes=sizes, max_pixels=max_pixels
    )


def _one_camera(file: TrackFile, camera: str | int | None) -> str | int | None:
    """Keep the lines of one camera if the file has a column of cameras; returns the camera's label."""
    cameras = Counter(row.camera for row in file.rows)
    if not cameras or set(cameras) == {""}:
        return camera
    if camera is None and len(cameras) == 1:
        (only,) = cameras
        return int(only) if only.isdecimal() else only
    if camera is None or str(camera) not in cameras:
        listed = preview(sorted(cameras), 12)
        raise TrackletError(f"{file.path} has cameras {listed}, got camera={camera!r}; pass the one of these frames")
    file.left_out["line of other cameras"] += sum(cameras.values()) - cameras[str(camera)]
    file.rows = [row for row in file.rows if row.camera == str(camera)]
    return camera


def _by_track(file: TrackFile, first: int) -> dict[int, list[Row]]:
    """{track: its rows by frame}, both in order; contradictions are faults."""
    found: dict[int, dict[int, Row]] = {}
    small = [row for row in file.rows if min(row.box[2:]) < 1]
    if small and len(small) == len(file.rows):
        file.faults.append(f"{file.path}:{small[0].line}: all boxes are less than a pixel, as {small[0].box}; {SHARES}")
    for row in file.rows:
        if row.frame < first:
            hint = f"; pass first_index={row.frame} if the first frame has that number" if row.frame == 0 else ""
            fault = f"frame {row.frame}, but the first frame has number {first}{hint}"
        elif min(row.box[2:]) < 1:
            fault = "" if len(small) == len(file.rows) else f"box {row.box} is less than a pixel; {SHARES}"
        elif row.frame in (rows := found.setdefault(row.track, {})):
            fault = f"track {row.track} is in frame {row.frame} twice; first: line {rows[row.frame].line}"
        else:
            rows[row.frame] = row
            continue
        if fault:
            file.faults.append(f"{file.path}:{row.line}: {fault}")
    return {track: [rows[n] for n in sorted(rows)] for track, rows in sorted(found.items())}


def _frame(where: Frames, row: Row, first: int, stride: int) -> Frame | None:
    index = (row.frame - first) * stride
    if isinstance(where, Path):
        return Frame(where, row.box, index)
    image = where.get(first + index)
    return None if image is None else Frame(image, row.box)


def _when(where: Frames, frames: Path, rows: list[Row], first: int, stride: int) -> dict[str, Any]:
    """When a track is seen in a folder of images; frames of a video say it themselves."""
    if isinstance(where, Path):
        return {}
    start, end = ((row.frame - first) * stride for row in (rows[0], rows[-1]))
    return {"video": str(frames), "start": start, "end": end}


def _say_absent(
    file: TrackFile, found: dict[int, list[Row]], pictures: dict[int, Frame], where: Frames, frames: Path
) -> None:
    absent = sorted((row.line, row.frame) for rows in found.values() for row in rows if row.line not in pictures)
    hint = ""
    if isinstance(where, dict) and absent and len(where) > 1:
        hint = f" (its images are frames {min(where)} to {max(where)})"
    file.faults += [f"{file.path}:{line}: no image for frame {n} in {frames}{hint}" for line, n in absent]


def _check_corners(file: TrackFile, pictures: dict[int, Frame], sizes: dict[Path, Size | str]) -> None:
    """A file without a header whose boxes are probably corners, x1,y1,x2,y2: that is an error, not a clipped crop.

    Read as corners, every box fits its frame. Read as x,y,w,h, a quarter of them or more end far outside of it.
    """
    if file.certain:
        return
    boxes = [(f.box, sizes[f.file]) for f in pictures.values() if f.box]
    known = [(box, size[0], size[1]) for box, size in boxes if not isinstance(size, str)]
    far = 0
    for (x, y, w, h), width, height in known:
        if w <= x or h <= y or w > SLACK * width or h > SLACK * height:
            return
        far += x + w > width + w / 10 or y + h > height + h / 10
    if known and 4 * far >= len(known):
        box, width, height = known[0]
        file.faults.append(
            f"{file.path}: its boxes are probably corners, x1,y1,x2,y2: read as x,y,w,h, {far:,} of {len(known):,} end "
            f"outside their frames ({box} in {width} x {height} pixels). "
            'Pass columns="frame,id,x1,y1,x2,y2,confidence", or columns="frame,id,x,y,w,h,confidence" if they are not'
        )


def _leave_out_outside(file: TrackFile, pictures: dict[int, Frame], sizes: dict[Path, Size | str]) -> None:
    """Leave out boxes outside the image, which trackers predict. If most are outside, the images are the wrong ones."""
    gone = []
    for key, frame in pictures.items():
        size = sizes[frame.file]
        if frame.box and not isinstance(size, str) and outside(frame.box, *size[:2]) == "wholly":
            gone.append((key, frame, size))
    if not gone:
        return
    if 2 * len(gone) > len(pictures):
        _, frame, size = gone[0]
        words = f"{len(gone):,} of {len(pictures):,} boxes are outside their frames, as {frame.box} is outside "
        words += f"{frame.file}, {size[0]} x {size[1]} pixels; are these the frames of the tracks, in their full size?"
        file.faults.append(f"{file.path}: {words}")
    else:
        file.left_out["frame with a box outside the image"] += len(gone)
    for key, _, _ in gone:
        del pictures[key]


def _long_enough(
    file: TrackFile, found: dict[int, list[Row]], pictures: dict[int, Frame], min_frames: int
) -> dict[int, list[Row]]:
    """The tracks that still have enough frames."""
    left = {track: [row for row in rows if row.line in pictures] for track, rows in found.items()}
    kept = {track: rows for track, rows in left.items() if len(rows) >= max(min_frames, 1)}
    short = len(left) - len(kept)
    file.left_out[f"track with fewer than {counted(min_frames, 'frame')}"] += short
    if not kept and not file.faults:
        file.faults.append(f"{file.path} has no tracks" + (f" of {min_frames} frames or more" if short else ""))
    return kept


def _say(file: TrackFile) -> None:
    if file.notice:
        logger.warning("%s: %s", file.path, file.notice)
    if parts := [_counted(what, n) for what, n in file.left_out.items() if n]:
        logger.warning("%s: left out: %s", file.path, ", ".join(parts))


def _counted(what: str, n: int) -> str:
    noun, _, rest = what.partition(" ")
    return f"{counted(n, noun)} {rest}".strip()


def _instead(frames: Path, folders: list[str], others: dict[str, list[str]]) -> str:
    """What a folder without images has, and what to do."""
    if within := [name for name in folders if list_folder(frames / name).images]:
        return f", but its folder {preview(within)} has: pass {frames / within[0]}"
    if others:
        listed = ", ".join(f"{len(found):,} {kind}" for kind, found in sorted(others.items()))
        return f" (it has {listed}); convert them to JPEG or PNG, or pass the video itself"
    return ""


def _frame_files(frames: Path, first: int) -> Frames:
    if frames.is_file():
        return frames
    if not frames.is_dir():
        raise TrackletError(f"{frames} does not exist; expected a folder of images or a video")
    folders, names, others = list_folder(frames)
    if not names:
        raise TrackletError(f"{frames} has no images{_instead(frames, folders, others)}")
    images = frame_numbers(frames, names)
    # Names numbered from 0 or 1 begin at the first frame, whatever its number in the track file. Otherwise they are an
    # excerpt of a longer sequence, and only equal numbers can mean the same frame.
    lowest = min(images)
    shift = first - lowest if lowest in (0, 1) else 0
    return {number + shift: frames / name for number, name in images.items()}
