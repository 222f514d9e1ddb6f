"""Freed memory that the process keeps, in processes of their own, because it holds for all of a process."""

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")

# Prints whether it is kept, and how many pages the kernel gave while a large block was taken and freed ten times.
PROBE = """
import resource, sys
import torch
{before}
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(2):
    torch.ones(2**24)
start = faults()
for _ in range(10):
    torch.ones(2**24)  # 64 MB
print(kept, faults() - start)
"""
DIRECTLY = "from stmga.allocator import keep_freed_memory; kept = keep_freed_memory()"
NOT = "kept = False"
BY_THE_COMMAND = """
from stmga.cli import main
sys.argv = ["stmga", "weights"]
kept = main() == 0
"""
INSIDE_ANOTHER = 'from stmga.cli import main; kept = main(["weights"]) == 0'


def probe(before: str, **environment: str) -> tuple[str, int]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_") and k != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", PROBE.format(before=before)]
    told = subprocess.run(command, env=clean | environment, capture_output=True, text=True, check=True, timeout=120)
    kept, faults = told.stdout.split()[-2:]
    return kept, int(faults)


@pytest.fixture(scope="module")
def given_back() -> int:
    _, faults = probe(NOT)
    if faults < 1000:
        pytest.skip("malloc keeps freed memory by itself here")
    return faults


def test_a_block_is_taken_anew_without_the_kernel(given_back):
    kept, faults = probe(DIRECTLY)
    assert kept == "True"
    assert faults < given_back / 5


def test_the_command_keeps_memory_in_a_process_of_its_own_alone(given_back):
    assert probe(BY_THE_COMMAND)[1] < given_back / 5
    assert probe(INSIDE_ANOTHER)[1] > given_back / 2


@pytest.mark.parametrize(
    "own", [{"MALLOC_ARENA_MAX": "8"}, {"GLIBC_TUNABLES": "glibc.malloc.arena_max=8"}], ids=["variable", "tunable"]
)
def test_a_setting_of_the_user_is_left_alone(given_back, own):
    kept, faults = probe(DIRECTLY, **own)
    assert kept == "False"
    assert faults > given_back / 2


def test_where_there_is_no_glibc_nothing_is_done(monkeypatch):
    from stmga import allocator

    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())  # musl has no mallopt
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
