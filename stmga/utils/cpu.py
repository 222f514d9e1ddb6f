"""The CPU: its name, and two settings that make long computations faster (freed memory is kept, denormals are zero)."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def processor() -> str:
    """The processor's name, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def keep_freed_memory() -> bool:
    """Let glibc keep the memory that this process frees. Returns whether glibc accepted the setting.

    Every batch on a CPU frees its maps and allocates new ones of the same size. glibc returns such large blocks to the
    kernel at once and gets them back page by page, each filled with zeros. This takes a good part of the time of a
    batch (`benchmarks/speed/allocator.py`). The price is that freed memory stays with the process until it ends.

    It applies to the whole process, so the command `stmga` calls it and the library never does. Call it in your own
    program before the first batch. Without glibc nothing happens. Other allocators (jemalloc, tcmalloc) ignore it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    # No block gets its own mapping, and the heap never shrinks.
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Flush numbers below 1e-38 to 0: CPUs compute with them many times slower, and weight decay produces them.

    A backward pass took three times as long after two thousand steps without this.

    The setting belongs to a thread and is inherited by threads that it starts. Existing torch threads keep
    theirs, so the commands that train call this before they compute anything.
    """
    before = denormals_are_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def denormals_are_flushed() -> bool:
    """Whether this thread treats numbers below 1e-38 as 0."""
    return (torch.tensor([2.0**-126], dtype=torch.float32, device="cpu") / 2).item() == 0
