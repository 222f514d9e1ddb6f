"""Two settings that make long computations on a CPU faster: freed memory is kept, and denormal numbers are zero."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # glibc's malloc.h


def keep_freed_memory() -> bool:
    """Let glibc keep what this process frees; whether it took the setting.

    Every batch on a CPU frees its maps and takes new ones of the same size. glibc gives such large blocks back to the
    kernel at once, and gets them anew page by page, each filled with zeros: a good part of the time of a batch
    (`benchmarks/speed/allocator.py`). The price is that freed memory stays with the process until it ends.

    It holds for the whole process, so the command `stmga` does it for its own, and a library does it for nobody: call
    it in a program of yours, before the first batch. Where there is no glibc nothing happens; another allocator
    that takes its place (jemalloc, tcmalloc) does not heed it.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
    # No block gets a mapping of its own, and the heap never shrinks.
    return mallopt is not None and bool(mallopt(M_MMAP_MAX, 0)) and bool(mallopt(M_TRIM_THRESHOLD, -1))


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Inside, numbers below 1e-38 are 0: a CPU computes with them many times slower, and weight decay makes them.

    A backward pass took three times as long after two thousand steps without this.

    The setting belongs to a thread and goes on to those it starts. Threads of torch that are there already keep
    theirs, so the commands that train call this before they compute anything.
    """
    before = denormals_are_flushed()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def denormals_are_flushed() -> bool:
    """Whether this thread takes numbers below 1e-38 for 0."""
    return (torch.tensor([2.0**-126], dtype=torch.float32, device="cpu") / 2).item() == 0
