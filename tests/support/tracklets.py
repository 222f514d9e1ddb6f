"""What the tests of tracklets share: pictures on disk, a manifest, and the faults of a call."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stmga.tracklets.tracklet import TrackletError


def picture(file: Path, colour=(200, 100, 50), size=(32, 64), mode="RGB") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(file)
    return file


def noise(file: Path, seed=0, size=(32, 64)) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file)
    return pixels


def manifest(folder: Path, *rows: object) -> Path:
    path = folder / "index.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def faults_of(call, *args, **kwargs) -> list[str]:
    with pytest.raises(TrackletError) as caught:
        call(*args, **kwargs)
    return caught.value.faults
