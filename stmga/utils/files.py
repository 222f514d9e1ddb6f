"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from stmga.utils.lock import OutputBusyError, output_lock

WAIT = 30.0  # seconds to wait for another writer of a small file


def atomic_write(path: str | Path, data: bytes) -> None:
    """Write a file whole or not at all: if anything fails, the old file is untouched and nothing else is left.

    A device or a pipe (``/dev/null``) cannot be replaced, so it is written to directly.

    Raises:
        OSError: the file cannot be written; the message names it.
    """
    write_all({Path(path): data})


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path for writing a large file. It replaces ``path`` at the end, or is removed on failure.

    Files that a killed process left beside ``path`` are removed first.

    Raises:
        OutputBusyError: another process writes this file.
        OSError: the file cannot be written; the message names it, and an old file is untouched.
    """
    path = Path(path)
    temp = _beside(path)
    try:
        with output_lock(path):
            _sweep(path)
            try:
                yield temp
                with open(temp, "rb+") as file:
                    os.fsync(file.fileno())
                os.replace(temp, path)
            finally:
                temp.unlink(missing_ok=True)
    except OutputBusyError:
        raise
    except OSError as error:
        reason = f"{error.strerror or error}; the file was not written, and what was there before is untouched"
        raise OSError(error.errno or errno.EIO, reason, str(path)) from error


def write_all(files: Mapping[Path, bytes]) -> None:
    """Write every file under a temporary name, then move them all. If one fails, the old files are restored."""
    path = Path()
    with ExitStack() as locks, ExitStack() as undo:
        temps = {path: _beside(path) for path in files if not _is_device(path)}
        kept: dict[Path, Path | None] = {}
        try:
            for path in sorted(temps):  # a fixed order, so that two writers cannot deadlock
                locks.enter_context(output_lock(path, wait=WAIT))
                _sweep(path)
            for path, temp in temps.items():
                undo.callback(temp.unlink, missing_ok=True)
                _write_through(temp, files[path])
            for path, temp in temps.items():
                kept[path] = _keep(path)
                undo.callback(_put_back, path, kept[path], temp)
            for path, temp in temps.items():
                os.replace(temp, path)
            for path in files.keys() - temps.keys():  # last: writing to a device cannot be undone
                path.write_bytes(files[path])
        except OutputBusyError:
            raise
        except OSError as error:
            reason = f"{error.strerror or error}; the file was not written, and what was there before is untouched"
            raise OSError(error.errno, reason, str(path)) from error
        undo.pop_all()  # everything is written: nothing to undo
        for old in kept.values():
            if old is not None:
                old.unlink(missing_ok=True)


def remove_folder(folder: Path, *, beside: Path) -> None:
    """Remove a folder that belongs to the file ``beside``. It is renamed first, so that a kill never leaves half of it.

    What a kill leaves has the name of a temporary file, and is removed when ``beside`` is written again.
    """
    temp = _beside(beside)
    os.replace(folder, temp)
    shutil.rmtree(temp)


def _is_device(path: Path) -> bool:
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "It is a folder, and a file is to be written", str(path))
    return path.exists() and not path.is_file()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")


def _sweep(path: Path) -> None:
    """Remove what a killed process left beside ``path``; the caller has the lock, so nobody writes it now."""
    left = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{32}}\.tmp")
    for name in os.listdir(path.parent):
        if left.fullmatch(name):
            found = path.with_name(name)
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink(missing_ok=True)


def _write_through(path: Path, data: bytes) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _keep(path: Path) -> Path | None:
    """A second name for the file at ``path``; None if there is none."""
    if not os.path.lexists(path):
        return None
    old = _beside(path)
    try:
        os.link(path, old, follow_symlinks=False)
    except (OSError, NotImplementedError):  # a file system without hard links
        try:
            shutil.copy2(path, old, follow_symlinks=False)
        except BaseException:
            old.unlink(missing_ok=True)
            raise
    return old


def _put_back(path: Path, old: Path | None, temp: Path) -> None:
    replaced = not temp.exists()
    if old is None:
        if replaced:
            path.unlink(missing_ok=True)
    elif replaced:
        try:
            os.replace(old, path)
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}; what was there before is now {old}", str(path)) from error
    else:
        old.unlink(missing_ok=True)
