"""The detector motion on a real video: six people come one after the other, stand at a table, and leave."""

import json

import numpy as np
import pytest

pytest.importorskip("trackers")

from stmga import Gallery, TrackletEmbedder, create_model, link
from stmga.cli.main import main
from stmga.cli.people import MODEL
from stmga.people import track, watch
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.split import evenly, halves
from tests.support.real_video import VIDEO, truth

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not VIDEO.is_file(), reason=f"{VIDEO} is not there: a real video, which is not distributed"),
]


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


def test_watch_says_one_line_per_person_when_each_has_left():
    stays, _ = truth()
    embedder = TrackletEmbedder(create_model(MODEL, pretrained=True))
    gallery = Gallery()
    for person, tracklet in enumerate(track(VIDEO, detector="motion"), start=1):
        gallery.enrol(f"person {person}", embedder([evenly(tracklet, 8)]))
    found = list(watch(VIDEO, gallery, embedder, detector="motion"))
    assert [(seen.person, seen.verdict) for seen in found] == [(f"person {i}", "known") for i in range(1, 7)]
    for seen, (first, last) in zip(found, sorted(stays.values()), strict=True):
        assert first - 5 <= seen.start < last and abs(seen.end - last) <= 10
