"""A run of `stmga train` that is killed or stopped ends with the same parameters."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest

from tests.support.cli import SMALL
from tests.support.train import assert_same


def command(data, folder, steps=6):
    return [
        sys.executable, "-m", "stmga", "train", "--data", str(data / "data/manifest.jsonl"), "--from",
        str(data / "tiny"), "-o", str(folder), *SMALL, "--epochs", "4",
        "--set", f"steps={steps}", "--set", "eval_every=0",
    ]  # fmt: skip


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module", name="undisturbed")
def undisturbed_fixture(data):
    subprocess.run(command(data, data / "undisturbed"), check=True, env=ONE_THREAD, capture_output=True)
    return data / "undisturbed"


def test_a_run_that_is_killed_again_and_again_ends_with_the_same_parameters(data, undisturbed, tmp_path):
    """SIGKILL three times, while it validates, saves or trains; then it may end."""
    folder, dice = tmp_path / "run", random.Random(4)
    for _ in range(3):
        process = subprocess.Popen(
            command(data, folder), env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        log, deadline = folder / "log.jsonl", time.monotonic() + 120
        before = log.stat().st_mtime_ns if log.exists() else 0
        while not (log.exists() and log.stat().st_mtime_ns > before):  # it has resumed: the log is rewound, or grows
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    last = subprocess.run(command(data, folder), env=ONE_THREAD, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert_same(folder, undisturbed)
    rows, expected = (
        [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()] for run in (folder, undisturbed)
    )
    assert [(row["epoch"], row["loss"]) for row in rows] == [(row["epoch"], row["loss"]) for row in expected]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_and_a_word(data, undisturbed, tmp_path, number):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(data, folder), env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = folder / "log.jsonl"
    while not (log.exists() and log.read_text()):  # one epoch is done
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number, errors
    assert "stopped at epoch" in errors
    assert "run the same command to resume" in errors
    assert "Traceback" not in errors
    subprocess.run(command(data, folder), check=True, env=ONE_THREAD, capture_output=True)
    assert_same(folder, undisturbed)
