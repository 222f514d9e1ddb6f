"""Puts something else in place of a file, which a reader must not wait for or read completely."""

import os
from pathlib import Path


def irregular(path: Path, kind: str) -> None:
    """Replace a file by a "pipe", a "device", a "folder", a link "loop", or a "huge" sparse file."""
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(200 * 2**30)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else path.name)
