"""Who comes by: tracklets are compared with a gallery when they end, and nothing is kept of them."""

import pytest
import torch

from stmga import Embeddings, Gallery, TrackletEmbedder
from stmga.gallery import GalleryError
from stmga.people import track, watch
from tests.support.embedder import TINY, build
from tests.support.gallery import calibrated
from tests.support.street import two_people
from tests.support.truth import Truth
from tests.support.videos import filmed

pytest.importorskip("trackers")


@pytest.fixture(scope="module", name="model")
def model_fixture(tmp_path_factory):
    return calibrated(tmp_path_factory.mktemp("weights"), 0.99999, 0.99)


@pytest.fixture(scope="module", name="video")
def video_fixture(tmp_path_factory):
    return filmed(tmp_path_factory.mktemp("video") / "door.mp4", two_people()[0])


def detector():
    return Truth(two_people()[1])


def enrolled(model, video, frames=8):
    """A gallery with the vectors of both people, as `watch` makes them."""
    gallery, empty = Gallery(), Gallery()
    embedder = TrackletEmbedder(model)
    for seen in watch(video, empty, embedder, detector=detector(), frames=frames, enrol_new=True):
        assert seen.enrolled and seen.verdict == "new"
    both = empty.embeddings
    gallery.enrol("ann", both[:1])
    gallery.enrol("ben", both[1:])
    return gallery


def test_everybody_who_is_enrolled_is_known(model, video):
    gallery = enrolled(model, video)
    found = list(watch(f"door={video}", gallery, TrackletEmbedder(model), detector=detector(),
                       start="2026-11-28T10:00:00Z"))  # fmt: skip
    assert [(seen.person, seen.verdict, seen.enrolled) for seen in found] == [
        ("ann", "known", False), ("ben", "known", False),
    ]  # fmt: skip
    whole = track(video, detector=detector())
    assert [(seen.tracklet, seen.camera) for seen in found] == [("door-1", "door"), ("door-2", "door")]
    spans = [(tracklet.frames[0].index, tracklet.frames[-1].index) for tracklet in whole]
    assert [(seen.start, seen.end) for seen in found] == spans
    assert all(seen.frames == 8 and seen.similarity == pytest.approx(1, abs=1e-5) for seen in found)
    assert all(1795860000 < seen.time < seen.end_time for seen in found)
    assert len(gallery) == 2


def test_crops_are_those_of_the_tracklet_spread_evenly(model, video):
    """Half of the memory goes when it is full: every kept crop is one of the tracklet, at equal steps."""
    from stmga.people.tracking import Job, TrackSettings

    whole = track(video, detector=detector())
    job = Job(video, TrackSettings(detector=detector()))
    with job.run(job.sources[0], False) as run:
        kept = {tracklet.id: tracklet for _, tracklet in run.tracks(keep=4)}
    for tracklet in whole:
        some, crops = kept[tracklet.id], tracklet.load()
        step = 1
        while len(crops) / step > 8:
            step *= 2
        assert 4 <= len(some) <= 8
        assert all(torch.equal(a, b) for a, b in zip(some.load(), crops[::step], strict=False))
        assert (some.extra["start"], some.extra["end"]) == (tracklet.frames[0].index, tracklet.frames[-1].index)


def test_new_people_get_names_that_are_free_and_only_when_asked(model, video):
    embedder, gallery = TrackletEmbedder(model), Gallery()
    assert [s.person for s in watch(video, gallery, embedder, detector=detector())] == [None, None]
    assert len(gallery) == 0
    gallery.enrol("new-1", Embeddings(-torch.ones(1, model.dim) / model.dim**0.5, [{"tracklet": "x"}], model.digest()))
    found = list(watch(video, gallery, embedder, detector=detector(), enrol_new=True))
    names = [seen.person for seen in found if seen.enrolled]
    assert names and names[0] == "new-2"
    again = list(watch(video, gallery, embedder, detector=detector(), enrol_new=True))
    assert [seen.verdict for seen in again if seen.person in names][:1] == ["known"]
    assert not any(seen.enrolled for seen in again[:1])


def test_what_is_wrong_is_said_before_the_first_frame(model, video):
    class Never:
        def __call__(self, frame):
            raise AssertionError("a frame was read")

    other = Embeddings(torch.eye(model.dim)[:1], [{"tracklet": "x", "person": "ann"}], digest="2a2a")
    embedder = TrackletEmbedder(model)
    with pytest.raises(GalleryError, match="vectors of different weights cannot be compared"):
        next(watch(video, Gallery(other), embedder, detector=Never()))
    with pytest.raises(ValueError, match="no threshold for the false-match rate 0.5"):
        next(watch(video, Gallery(), embedder, detector=Never(), known=0.5))
    with pytest.raises(ValueError, match="watch takes one video, got 2"):
        next(watch([f"a={video}", f"b={video}"], Gallery(), embedder, detector=Never()))
    with pytest.raises(ValueError, match="frames must be at least 1, got 0"):
        next(watch(video, Gallery(), embedder, detector=Never(), frames=0))
    plain = build(TINY)
    with pytest.raises(ValueError, match=r"pass thresholds=\(known, new\), or calibrate"):
        next(watch(video, Gallery(), TrackletEmbedder(plain), detector=Never()))
