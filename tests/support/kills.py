"""A command that is killed at random moments, again and again, and then left to end.

``python -m tests.support.kills FOLDER [KILLS]`` is the long form of tests/cli/test_kills.py: 20 kills of every command.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


def contents(root: Path, ignored: Callable[[Path], bool] = lambda path: False) -> dict[str, bytes]:
    """Every file below ``root``, hidden ones too."""
    files = [path for path in root.rglob("*") if path.is_file() and not ignored(path)]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def kill_and_resume(make: Callable[[Path], Sequence[str]], root: Path, kills: int, seed: int = 0) -> tuple[Path, Path]:
    """Two folders: the command's output when undisturbed, and its output after so many kills.

    A kill comes at a moment drawn from the time that the undisturbed command took, so that it meets every phase.

    Args:
        make: the command that writes below a folder.
        root: an empty folder.
        kills: how many SIGKILLs; one that comes after the command has ended does not count.
        seed: of the moments.
    """
    whole, killed, dice = root / "whole", root / "killed", random.Random(seed)
    whole.mkdir(parents=True)
    killed.mkdir()
    command = make(whole)
    start = time.monotonic()
    done = run(command)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    hits = 0
    for _ in range(4 * kills):
        process = subprocess.Popen(make(killed), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(dice.uniform(0.4, 1) * seconds)  # before that it imports
        process.kill()
        _, errors = process.communicate()
        assert process.returncode in (0, -9), errors.decode()
        if process.returncode == 0:
            seconds *= 0.9  # it was quicker than when it was undisturbed, or there was less left to do
        hits += process.returncode != 0
        if hits == kills:
            break
    assert hits == kills, f"{kills - hits} of {kills} kills came too late"
    last = run(make(killed))
    assert last.returncode == 0, last.stderr
    return whole, killed


if __name__ == "__main__":
    from tests.cli.test_kills import COMMANDS, check, prepare

    folder, number = Path(sys.argv[1]).absolute(), int(sys.argv[2]) if len(sys.argv) > 2 else 20
    source = prepare(folder / "source")
    for name in COMMANDS:
        check(name, source, folder / name, number)
        print(f"{name}: {number} kills, the same bytes, nothing left behind", flush=True)  # noqa: T201
