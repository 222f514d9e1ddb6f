"""The examples of docs/use/trackers.md run as printed; that of boxmot, which is not installed, does not."""

from __future__ import annotations

import re

import numpy as np
import pytest

from stmga.trackers import mot_rows
from tests.support.paths import ROOT
from tests.support.street import two_people
from tests.support.videos import filmed

sv = pytest.importorskip("supervision")
trackers = pytest.importorskip("trackers")


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    pictures, people = two_people()
    monkeypatch.chdir(tmp_path)
    filmed(tmp_path / "door.mp4", pictures)
    found = {}
    for picture, boxes in zip(pictures, people, strict=True):
        inside = [box for box in boxes if box[2] > 0 and box[0] < 160]
        xyxy = np.array(inside, np.float32).reshape(-1, 4)
        found[picture[..., ::-1].tobytes()] = sv.Detections(xyxy=xyxy, confidence=np.full(len(xyxy), 0.9, np.float32))
    tracker = trackers.ByteTrackTracker(frame_rate=10.0)
    names = {
        "frames": [np.ascontiguousarray(picture[..., ::-1]) for picture in pictures],
        "detector": lambda frame: found[frame.tobytes()],
        "tracker": tracker,
    }
    names["frame"] = names["frames"][20]
    rows = [mot_rows(tracker.update(names["detector"](frame)), i) for i, frame in enumerate(names["frames"])]
    np.savetxt("door.txt", np.concatenate(rows), fmt="%g", delimiter=",")
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/use/trackers.md").read_text(), re.DOTALL)
    blocks = [block for block in blocks if "boxmot" not in block]
    assert len(blocks) == 7
    for block in blocks:
        tracker.reset()
        exec(block, names)
    assert names["vectors"].shape[1] == 256
    assert len(set(np.loadtxt("stitched.txt", delimiter=",")[:, 1])) == 2
    assert len(set(names["rows"][:, 1])) == 2
    assert len(names["tracklets"]) == 2
