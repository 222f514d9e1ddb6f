"""Memory that a process frees and soon takes again, kept by the process instead of given back in between."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep what this process frees; whether it took the setting.

    Every batch on a CPU frees its maps and takes new ones of the same size. glibc gives such large blocks back to the
    kernel at once, and gets them anew page by page, each filled with zeros: a good part of the time of a batch
    (`benchmarks/allocator.py`). The price is that freed memory stays with the process until it ends.

    It holds for the whole process, so the command `stmga` does it for its own, and a library does it for nobody: call
    it in a program of yours, before the first batch. Where there is no glibc nothing happens; another allocator
    that takes its place (jemalloc, tcmalloc) does not heed it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    # No block gets a mapping of its own, and the heap never shrinks.
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))
