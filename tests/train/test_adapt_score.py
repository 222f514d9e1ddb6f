"""The parts of an adaptation: the view of a site, its score without labels, thresholds that follow the weights."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stmga.calibration import Calibration, Threshold
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.people.linking import link
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.train.adaptation.labels import Labels, carried
from stmga.train.adaptation.score import agreement, margin, pair_f1
from stmga.train.adaptation.site import Site, View
from stmga.train.network import with_input
from tests.support.adapt import site, small
from tests.support.videos import filmed

POINT = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.9)
CALIBRATION = Calibration(thresholds=(POINT,), lower=0.2, impostor_pairs=9, genuine_pairs=9, persons=9)


def view_of(persons: int, noise: float, *, seed: int = 0, tracklets: int = 2) -> tuple[View, tuple]:
    """Two tracklets of each person, by two cameras; all of one camera are there at once."""
    g = torch.Generator().manual_seed(seed)
    who = torch.arange(persons).repeat(tracklets)
    centres = torch.randn(persons, 32, generator=g)
    halves = F.normalize(
        centres[who].repeat_interleave(2, 0) + noise * torch.randn(2 * len(who), 32, generator=g), dim=1
    )
    items = [{"tracklet": i, "camera": i // persons} for i in range(len(who))]
    parts = [
        item | {"tracklet": f"{item['tracklet']}/{n}", "half_of": str(i)}
        for i, item in enumerate(items)
        for n in (1, 2)
    ]
    whole = F.normalize(halves[::2] + halves[1::2], dim=1)
    rows, columns = np.triu_indices(persons, 1)
    together = np.concatenate([rows, rows + persons]), np.concatenate([columns, columns + persons])
    view = View(
        Embeddings(whole, items, digest="1"), Embeddings(halves, parts, digest="1"), np.repeat(np.arange(len(who)), 2)
    )
    return view, together


def test_all_parts_of_the_score_fall_with_noise():
    views = [view_of(20, noise) for noise in (0.1, 0.7, 2.0)]
    agreements = [agreement(view, CALIBRATION, None) for view, _ in views]
    margins = [margin(view, together) for view, together in views]
    assert agreements[0] == 1.0
    assert agreements == sorted(agreements, reverse=True)
    assert agreements[2] < 0.5
    assert margins == sorted(margins, reverse=True)
    assert margins[0] > 0.3
    assert margins[2] < margins[0] - 0.3


def test_the_margin_is_that_of_a_literal_loop():
    view, together = view_of(5, 0.6)
    whole, halves = view.whole.vectors, view.halves.vectors
    total = []
    for row in range(10):
        others = [b if a == row else a for a, b in zip(*together, strict=True) if row in (a, b)]
        total.append(float(halves[2 * row] @ halves[2 * row + 1]) - max(float(whole[row] @ whole[o]) for o in others))
    assert margin(view, together) == pytest.approx(sum(total) / 10, abs=1e-5)
    nobody = np.zeros(0, np.int64)
    assert margin(view, (nobody, nobody)) is None


def test_agreement_counts_pairs_of_two_cameras_by_a_literal_loop():
    rng = np.random.default_rng(0)
    one, other = rng.integers(4, size=30).tolist(), rng.integers(4, size=30).tolist()
    cameras = rng.choice(np.array(["a", "b", None]), size=30).tolist()
    pairs = [
        (i, j) for i in range(30) for j in range(i) if None not in (cameras[i], cameras[j]) and cameras[i] != cameras[j]
    ]
    a, b = ({(i, j) for i, j in pairs if labels[i] == labels[j]} for labels in (one, other))
    assert pair_f1(one, other, cameras) == pytest.approx(2 * len(a & b) / (len(a) + len(b)))


def test_thresholds_follow_similarities_that_move():
    """All cosines are moved by a monotone change, and the thresholds move with them: linking finds the same persons."""
    view, _ = view_of(30, 0.5)
    before = view.whole
    people = link(replace(before, calibration=replace(CALIBRATION, digest="1")))
    labels = Labels.of(people, CALIBRATION)
    lifted = torch.cat([before.vectors, torch.full((60, 1), 1.0)], dim=1)  # (cos + 1) / 2
    after = Embeddings(F.normalize(lifted, dim=1), before.items, digest="2")
    moved = carried(labels, before, after)
    cosines = (before.vectors @ before.vectors.T).numpy()
    different = np.array(labels.identity)[:, None] != np.array(labels.identity)
    above = cosines[different & (cosines < POINT.similarity)].max()
    assert (above + 1) / 2 < moved.thresholds[0].similarity <= (POINT.similarity + 1) / 2 + 0.1
    again = link(replace(after, calibration=replace(moved, digest="2")))
    assert pair_f1([r.identity for r in people], [r.identity for r in again], [None] * 60) > 0.9


def test_a_view_has_a_vector_for_every_tracklet_and_drops_persons():
    tracklets = site()
    tracklets[3] = Tracklet("one frame", tracklets[3].frames[:1], person="x", camera=1)
    made = Site(tracklets, frames=4)
    assert made.frames == 55 * 4 + 1
    model = small()
    view = made.view(TrackletEmbedder(model))
    assert view.whole.ids == [t.id for t in tracklets]
    assert view.whole.persons == [None] * 56
    assert len(view.halves) == 110
    assert 3 not in view.of.tolist()
    alone = TrackletEmbedder(model)(tracklets[3:4]).vectors[0]
    assert torch.allclose(view.whole.vectors[3], alone, atol=1e-5)
    close = (view.whole.vectors * TrackletEmbedder(model)(tracklets).vectors).sum(1)
    assert close.min() > 0.99  # means of halves, not of frames


def test_times_keep_apart_whom_a_camera_saw_at_once_unless_they_are_not_used():
    timed = site(persons=24, times=True)
    made = Site(timed)
    assert len(made.together[0]) == 4 * 24 * 23 // 2  # all of a camera and a round are there at once
    assert made.can_calibrate
    assert "96 tracklets with times: 1,104 pairs seen by one camera at the same time" in made.describe()
    unused = Site(timed, times=False)
    assert len(unused.together[0]) == 0
    assert "times are not used" in unused.describe()
    view = made.view(TrackletEmbedder(small()))
    calibration = made.calibration(view)
    assert "seen at the same time" in calibration.data
    people = link(replace(view.whole, calibration=calibration))
    identity = [row.identity for row in people]
    assert all(identity[a] != identity[b] for a, b in zip(*made.together, strict=True))


def test_a_view_of_whole_tracklets_has_their_own_vectors_and_halves_only_to_calibrate_on():
    timed = site(persons=24, times=True)
    timed[3] = replace(timed[3], frames=timed[3].frames[:1])
    embedder = TrackletEmbedder(with_input(small(), clip_length=8))
    for times in (True, False):
        made = Site(timed, times=times)
        view, of_halves = made.view_of_whole(embedder), made.view(embedder)
        assert torch.equal(view.whole.vectors, embedder(timed).vectors)
        assert view.whole.items == of_halves.whole.items
        expected = (of_halves.of.tolist(), of_halves.halves.items) if times else ([], [])
        assert (view.of.tolist(), view.halves.items) == expected
    assert made.calibration(view) is None
    assert Site(timed).calibration(Site(timed).view_of_whole(embedder)).impostor_pairs > 1000


def test_what_is_known_of_a_site_is_said():
    people = site()
    assert any(line.startswith("no tracklet has times") for line in Site(people).describe())
    one = Site([replace(t, camera="door") for t in people])
    assert "one camera only (door): nothing can be learnt about people in two" in one.describe()
    none = Site([replace(t, camera=None) for t in people])
    assert "no tracklet has a camera: they are treated as of one" in none.describe()
    with pytest.raises(ValueError, match="1 tracklet without frames: empty"):
        Site([*people, Tracklet("empty", [])])


def test_the_frames_of_a_video_are_decoded_once_and_kept(tmp_path):
    """The views of a site before and after are the same; afterwards the video is not needed any more."""
    pictures = [np.full((64, 64, 3), 4 * i, np.uint8) for i in range(60)]
    video = filmed(tmp_path / "yard.mp4", pictures)
    walks = [
        Tracklet(str(i), [Frame(video, (0, 0, 32, 64), i + k) for k in range(6)], camera="yard") for i in range(50)
    ]
    made, model = Site(walks, frames=4), small()
    before = made.view(TrackletEmbedder(model))
    assert len(made.together[0]) > 0
    made.read_videos()
    video.unlink()
    after = made.view(TrackletEmbedder(model))
    assert torch.allclose(before.whole.vectors, after.whole.vectors, atol=1e-5)
    assert [len(t) for t in made.trained] == [4] * 50
    spans = [(item["start"], item["end"]) for item in after.halves.items]
    assert spans[:2] == [(0, 5), (0, 5)]
