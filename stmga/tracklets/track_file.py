"""The lines of a track file: MOT, VisDrone, KITTI, AI City, or CSV with named columns."""

from __future__ import annotations

import csv
import math
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from stmga.tracklets.text_file import read_lines
from stmga.tracklets.track_columns import BOXES, NAMED, Columns, named_columns, unnamed_columns
from stmga.tracklets.tracklet import TrackletError
from stmga.utils.text import counted, preview

Box = tuple[float, float, float, float]

UNTRACKED = (2**64 - 1, 2**32 - 1)  # -1 of unsigned integers, as DeepStream writes it
EXACT = 2**53  # above it a float no longer holds every integer


@dataclass(frozen=True, slots=True)
class Row:
    """One line: a box of a track in a frame."""

    line: int
    frame: int
    track: int
    box: Box
    kind: str = ""  # the class, where the file has any
    camera: str = ""


@dataclass
class TrackFile:
    """The rows of a track file, what was left out, and its faults."""

    path: Path
    rows: list[Row] = field(default_factory=list)
    first_index: int = 1
    certain: bool = False  # a header, the user or the format says what the four numbers of a box are
    notice: str = ""
    left_out: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def read_track_file(
    path: Path, *, columns: str | None = None, classes: Collection[str | int] | None = None
) -> TrackFile:
    """Read the lines; `columns` and `classes` are those of `read_mot`."""
    file = TrackFile(path)
    lines = [(number, line.strip()) for number, line in enumerate(read_lines(path), 1) if line.strip()]
    header, cells = _split(lines, file)
    if columns is not None:
        found = named_columns(columns.split(","))
        if isinstance(found, str):
            raise ValueError(f"columns: {found}; write for example {NAMED!r}")
    elif header is not None:
        found = named_columns(header[1])
    elif cells:
        found = unnamed_columns([row for _, row in cells])
    else:
        return file
    if isinstance(found, str):
        if header is None:
            raise TrackletError(f"{path}: {found}")
        raise TrackletError(f'{path}:{header[0]}: {found}; or name the columns by columns="{NAMED}"')
    file.first_index = found.first_index
    file.certain = columns is not None or header is not None or found.box != BOXES[0]
    wanted = None if classes is None else {_class(str(kind)).lower() for kind in classes}
    zeros, kinds = _take(file, cells, found, wanted)
    _judge(file, zeros, kinds, wanted)
    return file


def _split(
    lines: list[tuple[int, str]], file: TrackFile
) -> tuple[tuple[int, list[str]] | None, list[tuple[int, list[str]]]]:
    """The header, if there is one, and the cells of all other lines, with line numbers."""
    first = next((line for _, line in lines if not line.startswith(("#", "%", "//"))), "")
    delimiter = next((mark for mark in (";", "\t", ",") if mark in first), None)
    header: tuple[int, list[str]] | None = None
    cells: list[tuple[int, list[str]]] = []
    for number, line in lines:
        comment = line.startswith(("#", "%", "//"))
        row = _cells(line.lstrip("#%/ ") if comment else line, delimiter)
        names = len(row) > 3 and not any(re.match(r"[-+.]?[0-9]", cell) for cell in row)
        if names and header is None and not cells and not (comment and isinstance(named_columns(row), str)):
            header = number, row
        elif comment:
            file.left_out["comment"] += 1
        else:
            cells.append((number, row))
    return header, cells


def _cells(line: str, delimiter: str | None) -> list[str]:
    if delimiter is None:
        return line.split()
    if '"' in line:
        try:
            row = next(csv.reader([line], delimiter=delimiter))
        except csv.Error:
            row = line.split(delimiter)
    else:
        row = line.split(delimiter)
    # If a semicolon or tab separates, a comma is a decimal comma.
    return [cell.strip() if delimiter == "," else cell.strip().replace(",", ".") for cell in row]


def _take(
    file: TrackFile, cells: list[tuple[int, list[str]]], columns: Columns, wanted: set[str] | None
) -> tuple[int, Counter[str]]:
    """Add rows and faults to `file`; returns the number of lines with confidence 0, and with each class."""
    zeros, kinds = 0, Counter[str]()
    for number, row in cells:
        kind = _class(_cell(row, columns, "class"))
        if _ignored(row, columns):
            zeros += 1
            continue
        if "class" in columns.at:
            kinds[kind] += 1
            if wanted is not None and kind.lower() not in wanted:
                file.left_out[f"line of class {kind}"] += 1
                continue
        if kind == "DontCare":  # KITTI: regions, not objects
            file.left_out["region to ignore (DontCare)"] += 1
            continue
        parsed = _parse(row, columns, number)
        if isinstance(parsed, str):
            file.faults.append(f"{file.path}:{number}: {parsed}")
        else:
            file.rows.append(parsed)
    return zeros, kinds


def _judge(file: TrackFile, zeros: int, kinds: Counter[str], wanted: set[str] | None) -> None:
    """Add the faults and warnings that concern the file as a whole."""
    if zeros and not file.rows and not file.faults and not file.left_out:
        file.faults.append(
            f'{file.path}: all {counted(zeros, "line")} have confidence 0, which means "to be ignored" in MOT ground '
            'truth; if your tracker writes 0 for every box, pass columns="frame,id,x,y,w,h" (the columns without it)'
        )
    elif zeros:
        file.left_out["line with confidence 0"] = zeros
    if wanted is None:
        if len(kinds) > 1:
            listed = preview((f"{kind} ({n:,})" for kind, n in kinds.most_common()), 8)
            file.notice = f"{len(kinds)} classes, all read as persons: {listed}; choose with classes="
    elif not kinds:
        file.faults.append(f"{file.path}: it has no column of classes; leave classes out, or name its columns=")
    elif absent := sorted(wanted - {kind.lower() for kind in kinds}):
        file.faults.append(f"{file.path}: no line has class {preview(absent)}; it has {preview(sorted(kinds), 12)}")


def _cell(row: list[str], columns: Columns, name: str) -> str:
    at = columns.at.get(name, len(row))
    return row[at] if at < len(row) else ""


def _class(text: str) -> str:
    return text.partition(".")[0] if re.fullmatch(r"-?[0-9]+\.0*", text) else text.strip()


def _ignored(row: list[str], columns: Columns) -> bool:
    try:
        return float(_cell(row, columns, "confidence")) == 0
    except ValueError:
        return False


def _parse(row: list[str], columns: Columns, number: int) -> Row | str:
    """One line as a `Row`, or what is wrong with it."""
    shown = ",".join(row)[:80]
    if len(row) <= max(columns.needed):
        return f"expected at least {max(columns.needed) + 1} columns frame,id,x,y,w,h,..., got {len(row)} in {shown!r}"
    frame_text, track_text, *box_texts = (row[i] for i in columns.needed)
    if not track_text or track_text.lower() in ("none", "nan"):
        return "no track id: a detection that no tracker has assigned to a person; run a tracker first"
    try:
        frame, track = _integer(frame_text), _integer(track_text)
        a, b, c, d = map(_float, box_texts)
    except ValueError as error:
        return f"{error}, got {shown!r}"
    if track < 0 or track in UNTRACKED:
        return f"track id {track}: a detection that no tracker has assigned to a person; run a tracker first"
    box = {"right": (a, b, c - a, d - b), "width": (a, b, c, d)}[columns.box[2]]
    if columns.box[0] == "cx":
        box = (a - c / 2, b - d / 2, c, d)
    if min(box[2:]) <= 0:
        words = "x1, y1, x2, y2 with x2 > x1, y2 > y1" if columns.box[2] == "right" else "x, y, width, height"
        return f"box {(a, b, c, d)} has no area; expected {words} in pixels"
    return Row(number, frame, track, box, _class(_cell(row, columns, "class")), _class(_cell(row, columns, "camera")))


def _integer(text: str) -> int:
    """An integer, exact; "3.0" and "3e0" are accepted if a float can represent them."""
    if re.fullmatch(r"[-+]?[0-9]{1,40}", text):
        return int(text)
    value = _float(text)
    if value % 1:
        raise ValueError("frame and id must be whole numbers and the box finite")
    if abs(value) >= EXACT:
        raise ValueError("an id above 2^53 written as a float has lost digits: write it as an integer")
    return int(value)


def _float(text: str) -> float:
    try:
        value = float(text.replace("_", "?"))
    except ValueError:
        raise ValueError(f"expected numbers {NAMED}") from None
    if not math.isfinite(value):
        raise ValueError("frame and id must be whole numbers and the box finite")
    return value
