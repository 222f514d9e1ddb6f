"""Tracklets from a tracker: a MOT-format track file over a folder of frames or a video."""

from __future__ import annotations

import logging
import math
import os
import re
from pathlib import Path

from stmga.tracklets.folders import list_folder
from stmga.tracklets.limits import MAX_TEXT
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import check_tracklets
from stmga.utils.foreign import read_regular

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]


def read_mot(
    tracks: str | Path,
    frames: str | Path,
    *,
    camera: str | int | None = None,
    min_frames: int = 1,
    first_index: int = 1,
    check_files: bool = True,
    max_pixels: int | None = None,
) -> list[Tracklet]:
    """One tracklet for each track id of a MOT file; its frames are boxes of images in a folder, or of a video.

    Args:
        tracks: lines `frame,id,x,y,w,h,confidence,...` in any order; x, y, w, h in pixels, the corner is top left.
            Lines with confidence 0 are MOT's "to be ignored" and are skipped.
        frames: a folder of images or a video file (needs `pip install "stmga[video]"`).
        camera: label for all of them. Ids are `<camera>-<track>`, or `<name of the track file>-<track>`.
        min_frames: shorter tracks are dropped, and how many is logged.
        first_index: the number that the track file gives to the first frame: 1 in MOT, 0 in some trackers.
        check_files, max_pixels: as in `read_tracklets`.

    Images named by number are matched by number (see docs/use/tracklets.md), others by their position in natural order.
    All faults of the input come in one `TrackletError`, with line numbers.
    """
    tracks, frames = Path(tracks).absolute(), Path(frames).absolute()
    found, faults = _read_lines(tracks, first_index)
    where = _frame_files(frames, first_index)
    name = tracks.stem if camera is None else camera
    tracklets, lines, short = [], [], 0
    for track in sorted(found):
        rows = sorted(found[track].items())
        if isinstance(where, dict):
            absent = [(n, line) for n, (_, line) in rows if n not in where]
            faults += [f"{tracks}:{line}: no image for frame {n} in {frames}" for n, line in absent]
            rows = [row for row in rows if row[0] in where]
        if len(rows) < min_frames:
            short += 1
            continue
        boxes = tuple(_frame(where, n, box, first_index) for n, (box, _) in rows)
        tracklets.append(Tracklet(f"{name}-{track}", boxes, camera=camera))
        lines.append([line for _, (_, line) in rows])
    if short:
        logger.info("%s: %d tracks of fewer than %d frames left out", tracks, short, min_frames)
    if not tracklets and not faults:
        faults.append(f"{tracks} has no tracks" + (f" of {min_frames} frames or more" if short else ""))
    place = lambda n, i: f"{tracks}:{lines[n][i or 0]}"  # noqa: E731
    return check_tracklets(tracklets, check_files=check_files, place=place, faults=faults, max_pixels=max_pixels)


def _frame(where: dict[int, Path] | Path, number: int, box: Box, first_index: int) -> Frame:
    return Frame(where[number], box) if isinstance(where, dict) else Frame(where, box, number - first_index)


def _read_lines(tracks: Path, first_index: int) -> tuple[dict[int, dict[int, tuple[Box, int]]], list[str]]:
    """{track: {frame: (box, line number)}} and the faults."""
    try:
        text = read_regular(tracks, MAX_TEXT).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise TrackletError(f"cannot read {tracks}: {error.strerror}") from error
    found: dict[int, dict[int, tuple[Box, int]]] = {}
    faults: list[str] = []
    ignored = 0
    for line, row in enumerate(text.splitlines(), 1):
        if not row.strip():
            continue
        values = _numbers(row)
        if isinstance(values, str):
            faults.append(f"{tracks}:{line}: {values}")
            continue
        number, track, box = int(values[0]), int(values[1]), (values[2], values[3], values[4], values[5])
        if len(values) > 6 and values[6] == 0:
            ignored += 1
        elif number < first_index:
            hint = f"; pass first_index={number} if the first frame has that number" if number == 0 else ""
            faults.append(f"{tracks}:{line}: frame {number}, but the first frame has number {first_index}{hint}")
        elif min(box[2:]) <= 0:
            faults.append(f"{tracks}:{line}: box {box} has no area; expected x, y, width, height in pixels")
        elif number in (boxes := found.setdefault(track, {})):
            faults.append(f"{tracks}:{line}: track {track} is in frame {number} twice; first: line {boxes[number][1]}")
        else:
            boxes[number] = (box, line)
    if ignored:
        logger.warning("%s: %d lines with confidence 0 skipped", tracks, ignored)
    return found, faults


def _numbers(row: str) -> list[float] | str:
    """The first seven columns of a line as numbers, or what is wrong with it."""
    columns = (row.split(",") if "," in row else row.split())[:7]
    try:
        values = [float(column) for column in columns]
    except ValueError:
        return f"expected numbers frame,id,x,y,w,h,confidence, got {row.strip()[:80]!r}"
    if len(values) < 6:
        return f"expected at least 6 columns frame,id,x,y,w,h, got {len(values)}"
    if not all(map(math.isfinite, values)) or values[0] % 1 or values[1] % 1:
        return f"frame and id must be whole numbers and the box finite, got {row.strip()[:80]!r}"
    if values[1] < 0:
        return f"track id {int(values[1])}: a detection that no tracker has given to a person; run a tracker first"
    return values


def _frame_files(frames: Path, first_index: int) -> dict[int, Path] | Path:
    """{number in the track file: image}, or the video itself."""
    if frames.is_file():
        return frames
    if not frames.is_dir():
        raise TrackletError(f"{frames} does not exist; expected a folder of images or a video")
    _, names = list_folder(frames)
    if not names:
        raise TrackletError(f"{frames} has no images")
    numbered = [re.fullmatch(r"(\D*)([0-9]+)", os.path.splitext(name)[0]) for name in names]
    numbers = [int(match[2]) for match in numbered if match]
    prefixes = {match[1] for match in numbered if match}
    if len(numbers) < len(names) or len(prefixes) > 1 or len(set(numbers)) < len(numbers):
        numbers = list(range(len(names)))
    # Names numbered from 0 or 1 begin at the first frame, whatever the track file calls it. From elsewhere, they are an
    # excerpt of a longer sequence, and only equal numbers can mean the same frame.
    shift = first_index - numbers[0] if numbers[0] in (0, 1) else 0
    return {number + shift: frames / name for number, name in zip(numbers, names, strict=True)}
