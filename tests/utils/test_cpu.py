"""Freed memory that the process keeps, in processes of their own, because it holds for all of a process."""

import os
import platform
import subprocess
import sys

import pytest

from stmga.utils import cpu as allocator

# Prints by how much the heap has grown when a block was taken and freed: one with a mapping of its own is not in it.
PROBE = """
import ctypes, sys
sbrk = ctypes.CDLL(None).sbrk
sbrk.restype, sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
{before}
import torch
start = sbrk(0)
torch.empty(5 * 2**29, dtype=torch.uint8)  # 2.5 GiB that nobody touches
print(sbrk(0) - start)
"""
BLOCK = 5 * 2**29
DIRECTLY = "from stmga.utils.cpu import keep_freed_memory; assert keep_freed_memory()"
COMMAND = (
    "from stmga.cli import main as cli; cli.COMMANDS = {{'embed': print, 'weights': print}}; sys.argv = {argv}; {call}"
)
EMBED = ["stmga", "embed", "crops", "-o", "all.safetensors"]

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc here")


def grown(before: str, **environment: str) -> int:
    """Bytes by which the heap has grown for good."""
    command = [sys.executable, "-c", PROBE.format(before=before)]
    told = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, check=True, timeout=120
    )
    return int(told.stdout.split()[-1])


@glibc
def test_a_freed_block_stays_with_the_process():
    assert grown("") < BLOCK / 10  # otherwise there is nothing to gain
    assert grown(DIRECTLY) > 0.9 * BLOCK


@glibc
def test_a_command_that_computes_keeps_memory():
    own = COMMAND.format(argv=EMBED, call="cli.main()")
    assert grown(own) > 0.9 * BLOCK
    assert grown(own, STMGA_KEEP_MEMORY="0") < BLOCK / 10


@glibc
@pytest.mark.parametrize(("argv", "call"), [(["stmga", "weights"], "cli.main()"), ([], f"cli.main({EMBED[1:]})")])
def test_other_commands_and_other_programs_do_not(argv, call):
    assert grown(COMMAND.format(argv=argv, call=call)) < BLOCK / 10


class Library:
    """A C library with a mallopt that takes these settings."""

    def __init__(self, *taken: int) -> None:
        self.taken, self.asked = taken, []

    def mallopt(self, setting: int, value: int) -> int:
        self.asked.append((setting, value))
        return int(setting in self.taken)


@pytest.mark.parametrize(
    ("taken", "kept"), [((allocator.M_MMAP_MAX, allocator.M_TRIM_THRESHOLD), True), ((allocator.M_MMAP_MAX,), False)]
)
def test_it_says_whether_both_settings_were_taken(monkeypatch, taken, kept):
    library = Library(*taken)
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: library)
    assert allocator.keep_freed_memory() is kept
    assert library.asked == [(allocator.M_MMAP_MAX, 0), (allocator.M_TRIM_THRESHOLD, -1)]


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())  # musl
    assert allocator.keep_freed_memory() is False


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_another_system_is_not_even_asked(monkeypatch, system):
    monkeypatch.setattr(allocator.sys, "platform", system)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: pytest.fail("it was asked"))
    assert allocator.keep_freed_memory() is False
