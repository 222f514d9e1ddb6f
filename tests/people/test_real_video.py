"""The detector motion on a real video: six people come one after the other, stand at a table, and leave."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("trackers")

from stmga import TrackletEmbedder, create_model, link
from stmga.cli.main import main
from stmga.cli.people import MODEL
from stmga.people import track
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.split import evenly, halves
from tests.support.paths import DATA

FOLDER = DATA / "video"
VIDEO = FOLDER / "one-by-one-person-detection.mp4"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEO.is_file(), reason=f"{VIDEO} is not there: a real video, which is not distributed"),
]


def truth():
    """The stays `{person: (first, last)}` and the boxes `{frame: (person, [x, y, w, h])}` of the video's README."""
    stays, boxes = {}, {}
    for row in (FOLDER / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 3 and (stay := re.fullmatch(r"(\d+) - (\d+)", cells[1])):
            stays[int(cells[0])] = int(stay[1]), int(stay[2])
        elif len(cells) == 2 and cells[0].isdecimal():
            for item in cells[1].split(";"):
                frame, _, numbers = item.partition(":")
                boxes[int(frame)] = int(cells[0]), [float(number) for number in numbers.split(",")]
    return stays, boxes


def iou(a, b):
    a, b = (np.array([x, y, x + w, y + h]) for x, y, w, h in (a, b))
    inter = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    return inter / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - inter)


def test_six_people_are_six_tracks_with_the_right_boxes():
    stays, boxes = truth()
    assert len(stays) == 6 and len(boxes) == 30
    tracklets = track(VIDEO, detector="motion")
    assert len(tracklets) == 6
    by_person = {}
    for tracklet in tracklets:
        frames = {frame.index: frame.box for frame in tracklet.frames}
        covered = {
            p: sum(first <= i <= last for i in frames) / (last - first + 1) for p, (first, last) in stays.items()
        }
        person = max(covered, key=covered.get)
        assert covered[person] >= 0.8, (person, covered)
        assert all(share == 0 for p, share in covered.items() if p != person), "one person per track"
        by_person[person] = frames
    assert sorted(by_person) == sorted(stays)
    found = {frame: iou(by_person[person][frame], box) for frame, (person, box) in boxes.items()}
    assert min(found.values()) >= 0.5, found


def test_six_people_are_six_identities_and_so_are_halves_of_their_stays(tmp_path):
    out = tmp_path / "who"
    assert main(["people", str(VIDEO), "-o", str(out), "--detector", "motion", "-q", "--no-pictures"]) == 0
    rows = [json.loads(line) for line in (out / "people" / "identities.jsonl").read_text().splitlines()]
    assert sorted(row["identity"] for row in rows) == [1, 2, 3, 4, 5, 6]
    tracklets = [evenly(t, 8) for t in halves(read_manifest(out / "tracks" / "manifest.jsonl"))]
    people = link(TrackletEmbedder(create_model(MODEL, pretrained=True))(tracklets))
    assert [row.identity for row in people] == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
