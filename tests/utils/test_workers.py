"""Worker processes in a machine with too little shared memory: an error that says so, and no hang."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from stmga.utils.workers import Shared, SharedMemoryError, batches
from tests.support.paths import ROOT

SMALL = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
MOUNT = "mount -t tmpfs -o size=1m tmpfs /dev/shm && "


def has_namespaces() -> bool:
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*SMALL, f"{MOUNT}true"], capture_output=True, check=False).returncode == 0


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from stmga import Tracklet, TrackletEmbedder
from stmga.utils.workers import SharedMemoryError
from tests.support.embedder import TINY, build
walks = [Tracklet(str(i), np.zeros((16, 128, 64, 3), np.uint8)) for i in range(32)]
try:
    TrackletEmbedder(build(TINY).eval(), workers=2, batch_size=16)(walks)
except SharedMemoryError as error:
    print(error)
"""


@pytest.mark.skipif(not has_namespaces(), reason="no namespaces for a small /dev/shm here")
def test_a_small_dev_shm_is_an_error_and_no_hang():
    command = [*SMALL, f'{MOUNT}exec "$0" "$@"', sys.executable, "-c", SCRIPT, str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert "workers have no shared memory left for frames" in done.stdout and "--shm-size=2g" in done.stdout


def collated(samples):
    return {"pixels": torch.stack(samples), "names": [(torch.zeros(2), "a")]}


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_those_of_the_collate_function(workers):
    data = [torch.full((3,), float(i)) for i in range(8)]
    found = list(batches(DataLoader(data, batch_size=4, num_workers=workers, collate_fn=Shared(collated))))
    assert torch.equal(torch.cat([batch["pixels"] for batch in found]), torch.stack(data))
    assert found[0]["names"][0][1] == "a" and found[0]["pixels"].is_shared() == (workers > 0)


def full(samples):
    raise RuntimeError("not of shared memory")


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="not of shared memory") as caught:
        list(batches(DataLoader([1, 2], num_workers=1, collate_fn=Shared(full))))
    assert not isinstance(caught.value, SharedMemoryError)
