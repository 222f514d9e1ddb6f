"""One writer for each output: a lock that ends with its process, however that process ends."""

from __future__ import annotations

import errno
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

_GUARD = threading.RLock()
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}
_BYTE = 1 << 20  # the byte that is locked on Windows: far behind the text, so that others can read the text


class OutputBusyError(OSError):
    """Another process, or another thread of this one, is writing the same output."""


@dataclass
class _Held:
    owner: tuple[int, int]  # process and thread; a forked process inherits the table, but not the locks
    descriptor: int
    depth: int = 1


_HELD: dict[str, _Held] = {}


@contextmanager
def output_lock(path: str | os.PathLike[str], *, wait: float = 0.0) -> Iterator[None]:
    """Inside, no other process and no other thread that asks for this lock writes ``path``.

    The lock is a record lock on a small file: ``.lock`` in an existing folder, ``.<name>.lock`` beside anything else.
    The system releases it when the process ends, also after SIGKILL; the file is removed at the end, or by the next
    writer. The thread that has the lock may take it again. On a file system without locks a warning is logged.

    Args:
        path: the file or folder to be written; its parent must exist.
        wait: seconds to wait for another writer.

    Raises:
        OutputBusyError: another writer has it; the message names its process.
        OSError: the lock file cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     with output_lock(f"{root}/vectors.safetensors"):
    ...         os.listdir(root)
    ...     os.listdir(root)
    ['.vectors.safetensors.lock']
    []
    """
    file, deadline = lock_file(path), time.monotonic() + wait
    key = os.path.realpath(file)
    while not _take(key, file):
        if time.monotonic() >= deadline:
            raise OutputBusyError(errno.EBUSY, f"{_writer(key, file)} is writing it; wait for it to end", str(path))
        time.sleep(0.02)
    try:
        yield
    finally:
        _release(key, file)


def lock_file(path: str | os.PathLike[str]) -> Path:
    """The file that :func:`output_lock` locks for ``path``."""
    path = Path(path)
    return path / ".lock" if path.is_dir() else path.with_name(f".{path.name}.lock")


def _take(key: str, file: Path) -> bool:
    owner = os.getpid(), threading.get_ident()
    with _GUARD:
        held = _HELD.get(key)
        if held is not None and held.owner[0] == owner[0]:
            # Opening and closing the file here would give up the lock: the system counts processes, not files.
            held.depth += held.owner == owner
            return held.owner == owner
        descriptor = _open_locked(file)
        if descriptor is not None:
            _HELD[key] = _Held(owner, descriptor)
        return descriptor is not None


def _release(key: str, file: Path) -> None:
    with _GUARD:
        held = _HELD[key]
        held.depth -= 1
        if held.depth:
            return
        del _HELD[key]
        if sys.platform == "win32":  # an open file cannot be removed there
            os.close(held.descriptor)
        with suppress(OSError):  # its folder may be gone; a writer that waits may have it open
            file.unlink()
        if sys.platform != "win32":
            os.close(held.descriptor)


def _open_locked(file: Path) -> int | None:
    """The descriptor of the locked file; None if another process holds the lock."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if not _lock(descriptor, file):
                os.close(descriptor)
                return None
            if _is_at(descriptor, file):  # otherwise the previous writer removed it after it was opened here
                os.truncate(descriptor, 0)
                os.write(descriptor, str(os.getpid()).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(file, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _lock(descriptor: int, file: Path) -> bool:
    """Whether this process has the lock now. Record locks are not inherited, so orphaned workers hold none."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            logger.warning("%s cannot be locked (%s): start no other process on this output", file, error.strerror)
            return True
        if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
            return False
        raise
    return True


def _writer(key: str, file: Path) -> str:
    """Who holds the lock, for a message."""
    if key in _HELD:  # this process must not open the file: see _take
        return "another thread of this process"
    try:
        return f"another process ({int(file.read_text('ascii'))})"
    except (OSError, ValueError):
        return "another process"
