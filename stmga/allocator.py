"""Memory that a process frees and soon takes again, kept by the process instead of given back in between."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep what this process frees, and say whether it does.

    Every batch on a CPU frees its maps and takes new ones of the same size. glibc gives such large blocks back to the
    kernel at once, and gets them anew page by page, each filled with zeros: a sixth of the time of inference and of a
    training step (`benchmarks/allocator.py`). The price is that memory once taken stays taken until the process ends.

    It holds for the whole process, so the command `stmga` does it for its own, and a library does it for nobody: call
    it in a program of yours, before the first batch. It leaves a user's own setting alone (an environment variable
    `MALLOC_...`, or `GLIBC_TUNABLES` that speaks of malloc) and does nothing where there is no glibc.
    """
    own = any(name.startswith("MALLOC_") for name in os.environ) or "malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if own or not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    # No block has a mapping of its own, and what is free at the end of the heap stays.
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
