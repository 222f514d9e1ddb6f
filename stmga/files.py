"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from pathlib import Path


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: if anything fails, the old file is untouched and nothing else is left.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    write_all({Path(path): data})


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write every file beside its place, and only when all of them are on the disk put them there."""
    staged = {path: path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp") for path in files}
    path = Path()
    try:
        for path, data in files.items():
            with open(staged[path], "xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        for path, temp in staged.items():
            os.replace(temp, path)
    except OSError as error:
        reason = f"{error.strerror or error}; the file was not written, and what was there before is untouched"
        raise OSError(error.errno, reason, str(path)) from error
    finally:
        for temp in staged.values():
            temp.unlink(missing_ok=True)
