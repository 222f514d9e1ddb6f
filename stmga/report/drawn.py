"""Which videos with people drawn in are in a folder: those that draw_videos wrote, and no others."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from stmga.utils.files import atomic_write
from stmga.utils.foreign import MB, parse_json, read_regular

RECORD = "drawn.json"


def record_drawn(folder: Path, names: Iterable[str]) -> None:
    """Note the names of drawn videos, before they are written."""
    atomic_write(folder / RECORD, (json.dumps(sorted(names)) + "\n").encode())


def drawn_videos(folder: Path) -> list[Path]:
    """The drawn videos that are in the folder."""
    try:
        names = parse_json(read_regular(folder / RECORD, MB))
    except (OSError, ValueError):
        return []
    if not isinstance(names, list):
        return []
    files = (folder / name for name in names if isinstance(name, str) and Path(name).name == name)
    return [file for file in files if file.is_file()]


def remove_drawn(folder: Path) -> list[Path]:
    """Remove them; returns what was removed."""
    files = drawn_videos(folder)
    for file in files:
        file.unlink()
    (folder / RECORD).unlink(missing_ok=True)
    return files
