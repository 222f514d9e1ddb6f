"""Weights folders as a stranger may write them, and what must become of them."""

from __future__ import annotations

import json
import time
import tracemalloc

import numpy as np
import pytest
import torch

from stmga import STMGA, TrackletEmbedder
from stmga.hub.records import WeightsError
from tests.support.hub import sha256

NAN, INF = float("nan"), float("inf")


def write(folder, files, weights=None, raw=None, change=None):
    """A saved folder with other weights under their true digest, other text, or a record that ``change`` edits."""
    weights = files["model.safetensors"] if weights is None else weights
    record = json.loads(files["config.json"]) | {"sha256": sha256(weights), "file_size": len(weights)}
    if change is not None:
        record = change(record) or record
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "config.json").write_bytes(json.dumps(record).encode() if raw is None else raw(json.dumps(record)))
    return folder


def load(folder):
    """What a stranger's folder does: it is loaded, embeds and is saved again; all within a second."""
    start = time.monotonic()
    model = STMGA.from_pretrained(folder)
    assert time.monotonic() - start < 30
    frames = np.random.default_rng(0).integers(0, 255, (2, 64, 32, 3), dtype=np.uint8)
    vectors = TrackletEmbedder(model)({"a": frames}).vectors
    assert torch.allclose(vectors.norm(dim=1), torch.ones(1), atol=1e-4)
    model.save_pretrained(folder / "again")
    return model


def refused(folder, *words):
    tracemalloc.start()
    start = time.monotonic()
    with pytest.raises(WeightsError) as caught:
        STMGA.from_pretrained(folder)
    seconds, (_, peak) = time.monotonic() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    text = str(caught.value)
    assert seconds < 30 and peak < 200e6, (seconds, peak)
    assert len(text) < 1000 + 2 * len(str(folder)) and "\x1b" not in text and "\n" not in text
    for word in words:
        assert word in text
