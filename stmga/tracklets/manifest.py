"""Manifests: tracklets as JSON Lines, one object per line, read and written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from stmga.tracklets.text_file import read_lines
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import MADE, RESERVED, check_tracklets
from stmga.utils.files import atomic_write
from stmga.utils.foreign import fast_json


def read_manifest(path: str | Path, *, check_files: bool = True, max_pixels: int | None = None) -> list[Tracklet]:
    """A JSON Lines manifest: one object per line with `tracklet`, `frames`, and if known `person`, `camera`, `time`.

    A frame is a file name, or `{"file": ..., "box": [x, y, w, h], "index": 12}` for a box in it, or for a frame of a
    video (from 0). All frames of a tracklet may also be parts of one file, as `stmga pack` writes them: `"frames":
    {"file": ..., "spans": [[offset, length], ...]}`, with `"boxes"` where there are any. Relative names are relative
    to the manifest. Any other key of a line is kept in `Tracklet.extra`. `max_pixels` as in `read_tracklets`.
    """
    path = Path(path).absolute()
    tracklets: list[Tracklet] = []
    lines: list[int] = []
    faults: list[str] = []
    # File names need not be UTF-8.
    for number, line in enumerate(read_lines(path, "surrogateescape"), 1):
        if not line.strip():
            continue
        tracklet, wrong = _parse(line, path.parent)
        faults += [f"{path}:{number}: {fault}" for fault in wrong]
        if tracklet is not None:
            tracklets.append(tracklet)
            lines.append(number)
    if not tracklets and not faults:
        faults.append(f"{path} has no tracklets: it is empty")
    place = lambda n, i: f"{path}:{lines[n]}"  # noqa: E731
    return check_tracklets(tracklets, check_files=check_files, place=place, faults=faults, max_pixels=max_pixels)


def write_manifest(tracklets: Iterable[Tracklet], path: str | Path) -> None:
    """Write tracklets on disk as a manifest that `read_manifest` reads back the same; atomic.

    Files below the manifest's folder are written relative to it. Tracklets in memory have no files: `TrackletError`.
    """
    path, lines, faults = Path(path).absolute(), [], []
    for tracklet in tracklets:
        if not isinstance(tracklet.frames, tuple) or not all(isinstance(frame, Frame) for frame in tracklet.frames):
            faults.append(f'tracklet "{tracklet.id}" is in memory: save its frames as images first')
            continue
        lines.append(manifest_line(tracklet, path.parent))
    if faults:
        raise TrackletError(faults)
    atomic_write(path, "".join(lines).encode())


def manifest_line(tracklet: Tracklet, base: Path) -> str:
    """The line, with its line end, of a tracklet on disk for a manifest in the folder `base`."""
    row = tracklet.labels()
    row["frames"] = _packed(tracklet, base) or [_written(frame, base) for frame in tracklet.frames]
    line = json.dumps(row, ensure_ascii=False) + "\n"
    try:
        line.encode()
    except UnicodeEncodeError:  # a name that is not valid Unicode: JSON's \u escapes keep it
        line = json.dumps(row) + "\n"
    return line


def _packed(tracklet: Tracklet, base: Path) -> dict[str, Any] | None:
    """All frames of a tracklet in one object, if they are parts of one file."""
    frames = tracklet.frames
    if not frames or any(f.span is None or f.index is not None or f.file != frames[0].file for f in frames):
        return None
    row = {"file": _name(frames[0].file, base), "spans": [list(frame.span) for frame in frames]}
    if any(frame.box is not None for frame in frames):
        row["boxes"] = [frame.box and list(frame.box) for frame in frames]
    return row


def _written(frame: Frame, base: Path) -> str | dict[str, Any]:
    row = frame.to_dict() | {"file": _name(frame.file, base)}
    return row["file"] if len(row) == 1 else row


def _name(file: Path, base: Path) -> str:
    file = file.absolute()
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file)


def _parse(line: str, base: Path) -> tuple[Tracklet | None, list[str]]:
    """One line of a manifest: a tracklet if it can be made, and what is wrong with the line."""
    try:
        row = fast_json(line)
    except ValueError as error:
        return None, [f"no JSON: {error}"]
    if not isinstance(row, dict):
        return None, [f"expected an object {{...}}, got {type(row).__name__}"]
    faults = [f'the key "{key}" is missing' for key in ("tracklet", "frames") if key not in row]
    if isinstance(row.get("frames"), dict):
        items, wrong = _unpacked(row["frames"], base)
        faults += wrong
    elif isinstance(row.get("frames", []), list):
        items = (_frame(item, base) for item in row.get("frames", []))
    else:
        faults.append(f'"frames" must be a list, got {type(row["frames"]).__name__}')
    if faults:
        return None, faults
    frames: list[Frame] = []
    for i, frame in enumerate(items):
        if isinstance(frame, Frame):
            frames.append(frame)
        else:
            faults.append(f"frame {i}: {frame}")
    if faults and not frames:
        return None, faults
    extra = {key: value for key, value in row.items() if key not in RESERVED or key in MADE}  # for the check to report
    labels = row["tracklet"], row.get("person"), row.get("camera"), row.get("time")
    return Tracklet(labels[0], tuple(frames), *labels[1:], extra), faults


def _frame(item: Any, base: Path) -> Frame | str:
    """One frame of a manifest line, or what is wrong with it."""
    row = {"file": item} if isinstance(item, str) else item
    if not isinstance(row, dict) or not isinstance(row.get("file"), str) or not row["file"]:
        return f'expected a file name or {{"file": name, "box": [x, y, w, h], "index": n}}, got {str(item)[:80]}'
    if "camera" in row:
        return "has a camera of its own: two cameras in one tracklet; make it one tracklet for each camera"
    if unknown := row.keys() - {"file", "box", "index", "span"}:
        return f"unknown key {sorted(unknown)[0]!r}; a frame has file, box, index, span"
    box, index, span = row.get("box"), row.get("index"), row.get("span")
    if box is not None and not _is_box(box):
        return f"box must be [x, y, width, height] in pixels, got {str(box)[:80]}"
    if span is not None and not _is_span(span):
        return f"span must be [offset, length] in bytes, got {str(span)[:80]}"
    if index is not None and (isinstance(index, bool) or not isinstance(index, int)):
        return f"index must be the number of a video frame from 0, got {str(index)[:80]}"
    return Frame(base / row["file"], box and tuple(box), index, span and tuple(span))


def _unpacked(row: dict[str, Any], base: Path) -> tuple[Iterable[Frame | str], list[str]]:
    """Frames that are parts of one file, and what is wrong with them as a whole."""
    file, spans, boxes = row.get("file"), row.get("spans"), row.get("boxes")
    if unknown := row.keys() - {"file", "spans", "boxes"}:
        return (), [f"unknown key {sorted(unknown)[0]!r} in frames; packed ones have file, spans, boxes"]
    if not isinstance(file, str) or not file or not isinstance(spans, list) or not all(map(_is_span, spans)):
        words = 'frames must be a list, or {"file": name, "spans": [[offset, length], ...]}'
        return (), [f"{words}, got {str(row)[:80]}"]
    if boxes is None:
        path = base / file
        return (Frame(path, None, None, (offset, length)) for offset, length in spans), []
    if not isinstance(boxes, list) or len(boxes) != len(spans):
        return (), [f"frames have {len(spans)} spans, boxes must be a list of as many (null for the whole picture)"]
    items = ({"file": file, "span": span, "box": box} for span, box in zip(spans, boxes, strict=True))
    return (_frame(item, base) for item in items), []


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(_number(number) for number in value)


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) is int and type(value[1]) is int


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
