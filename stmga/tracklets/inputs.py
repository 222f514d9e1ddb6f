"""Identifies the files of tracklets, so that interrupted work is resumed only over the same files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga.tracklets.pixels import to_pixels
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.utils.foreign import fast_json, open_regular

_DIGITS = 12  # hex digits of a frame's digest in the record: a million frames are 12 MB
_CHUNK = 1 << 20


class InputRecord:
    """One line per tracklet: its id, a digest of its labels, and a digest of what identifies each frame.

    A frame on disk is identified by file, box, index and span, with the file's size and modification time; a frame in
    memory by its pixels. With ``contents``, frames are compared by a digest of the file's contents, box, index and
    span, so that a copy with another path or time is the same.

    Args:
        tracklets: in order.
        contents: read every file once, and compare contents.

    >>> a, b = (Tracklet("a", np.full((2, 4, 4, 3), value, np.uint8)) for value in (0, 1))
    >>> before = InputRecord([a]).to_bytes()
    >>> InputRecord([a]).difference(before), InputRecord([b]).difference(before)
    ('', 'tracklet "a": frame 0 (in memory) has changed: its pixels')
    """

    def __init__(self, tracklets: Iterable[Tracklet], *, contents: bool = False) -> None:
        self.tracklets, self.contents = list(tracklets), contents
        stamps, digests = _Known(_stamp), _Known(_content)
        self.rows = [_row(tracklet, stamps, digests if contents else None) for tracklet in self.tracklets]

    def to_bytes(self) -> bytes:
        """The record, as JSON lines."""
        return "".join(json.dumps(row) + "\n" for row in self.rows).encode()

    def difference(self, before: bytes) -> str:
        """The first tracklet that has changed, and how many more have; "" if none has."""
        try:
            rows: list[dict[str, str]] = [fast_json(line) for line in before.splitlines()]
            if len(rows) != len(self.rows):
                return f"{len(rows):,} tracklets were read, now {len(self.rows):,}"
            pairs = zip(self.tracklets, rows, self.rows, strict=True)
            found = [text for tracklet, old, new in pairs if (text := self._changed(tracklet, old, new))]
        except (ValueError, LookupError, TypeError, RecursionError) as error:
            return f"the record of its input files is damaged ({error})"
        more = f" (and {len(found) - 1:,} more tracklets have changed)" if len(found) > 1 else ""
        return f"{found[0]}{more}" if found else ""

    def _changed(self, tracklet: Tracklet, old: Mapping[str, str], new: Mapping[str, str]) -> str:
        """How a tracklet differs from its row in an earlier record; "" if it does not."""
        name = f'tracklet "{tracklet.id}"'
        if old["tracklet"] != new["tracklet"]:
            return f'{name} was "{old["tracklet"]}"'
        if old["labels"] != new["labels"]:
            return f"{name}: its labels have changed"
        by = "contents" if "contents" in new and "contents" in old else "frames"
        if old[by] == new[by]:
            return ""
        if len(old[by]) != len(new[by]):
            return f"{name} had {len(old[by]) // _DIGITS:,} frames, now {len(tracklet):,}"
        index = next(i for i in range(len(tracklet)) if _at(old[by], i) != _at(new[by], i))
        frame = tracklet.frames[index]
        if not isinstance(frame, Frame):
            return f"{name}: frame {index} (in memory) has changed: its pixels"
        what = "contents, box or index" if by == "contents" else "path, size, modification time, box or index"
        copied = "; its contents cannot be compared, because it was begun without trust_content=True"
        hint = copied if self.contents and by == "frames" else ""
        return f"{name}: frame {index} ({frame.file}) has changed: its {what}{hint}"


class _Known(dict[Path, str]):
    """Caches a function of a file, since frames of a video or of a pack share one."""

    def __init__(self, ask: Any) -> None:
        super().__init__()
        self.ask = ask

    def __missing__(self, file: Path) -> str:
        found = self[file] = self.ask(file)
        return str(found)


def _row(tracklet: Tracklet, stamps: _Known, contents: _Known | None) -> dict[str, str]:
    extra = {key: value for key, value in tracklet.extra.items() if key != "video"}  # files are compared below
    labels = [tracklet.person, tracklet.camera, tracklet.time, extra]
    row = {
        "tracklet": tracklet.id,
        "labels": _short(json.dumps(labels, sort_keys=True, default=str)),
        "frames": "".join(_frame(frame, stamps) for frame in tracklet.frames),
    }
    return row if contents is None else row | {"contents": "".join(_frame(f, contents) for f in tracklet.frames)}


def _frame(frame: Any, files: _Known) -> str:
    if isinstance(frame, Frame):
        return _short(f"{files[frame.file]} {frame.box} {frame.index} {frame.span}")
    pixels = frame if isinstance(frame, np.ndarray) else to_pixels(frame).contiguous().view(torch.uint8).numpy()
    return _short(f"{pixels.dtype} {pixels.shape}", np.ascontiguousarray(pixels).data)


def _stamp(file: Path) -> str:
    """Path, size and modification time in nanoseconds; only the path for a missing file."""
    try:
        found = os.stat(file)
    except (OSError, ValueError):  # ValueError: no file can have that name
        return f"{os.path.abspath(file)} missing"
    return f"{os.path.abspath(file)} {found.st_size} {found.st_mtime_ns}"


def _content(file: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open_regular(file) as opened:
            while chunk := opened.read(_CHUNK):
                digest.update(chunk)
    except (OSError, ValueError) as error:
        return f"unreadable: {getattr(error, 'strerror', error)}"
    return digest.hexdigest()


def _short(text: str, data: Any = b"") -> str:
    digest = hashlib.sha256(text.encode(errors="backslashreplace"))
    digest.update(data)
    return digest.hexdigest()[:_DIGITS]


def _at(digests: str, index: int) -> str:
    return digests[index * _DIGITS : (index + 1) * _DIGITS]
