"""Are these two the same: similarity, verdict and threshold, of every kind of side."""

from dataclasses import replace

import numpy as np
import PIL.Image
import pytest
import torch

from stmga import STMGA, Embeddings, Tracklet, TrackletEmbedder, compare
from stmga.calibration import Calibration, Threshold

RATE = 1e-3


def calibration(digest: str, same: float = 0.6, lower: float = 0.3) -> Calibration:
    point = Threshold(false_match_rate=RATE, similarity=same, true_match_rate=0.9)
    return Calibration(
        thresholds=(point,), lower=lower, impostor_pairs=5000, genuine_pairs=90, persons=40, digest=digest, data="site"
    )


def row(cosine: float, digest: str = "1f0c", **known) -> Embeddings:
    """One vector with this cosine to (1, 0)."""
    vector = torch.tensor([[cosine, (1 - cosine**2) ** 0.5]])
    return Embeddings(vector, [{"tracklet": "t"}], digest=digest, **known)


@pytest.fixture(name="images")
def images_fixture(tmp_path):
    """A folder of three pictures of random pixels."""
    generator = np.random.default_rng(0)
    (tmp_path / "ann").mkdir()
    for i in (1, 2, 10):
        pixels = generator.integers(0, 255, (64, 32, 3), dtype=np.uint8)
        PIL.Image.fromarray(pixels).save(tmp_path / "ann" / f"{i}.png")
    return tmp_path / "ann"


@pytest.mark.parametrize(("cosine", "verdict"), [(0.9, "same"), (0.6, "same"), (0.5, "unsure"), (0.2, "other")])
def test_a_similarity_has_the_verdict_of_the_calibration(cosine, verdict):
    found = compare(row(1.0, calibration=calibration("1f0c")), row(cosine))
    assert found.similarity == pytest.approx(cosine, abs=1e-6)
    assert found.verdict == verdict
    assert found.threshold is not None and found.threshold.similarity == 0.6
    assert found.calibration is not None and found.calibration.data == "site"


def test_without_calibration_there_is_no_verdict():
    found = compare(row(1.0), row(0.9))
    assert (found.verdict, found.threshold, found.calibration) == (None, None, None)


def test_images_folders_clips_and_tracklets_are_embedded_as_the_embedder_does(model, images):
    files = [images / f"{i}.png" for i in (1, 2, 10)]
    embedder = TrackletEmbedder(model)
    wanted = embedder([Tracklet("a", files)]).vectors[0] @ embedder([Tracklet("b", files[:1])]).vectors[0]
    sides = images, files, Tracklet("x", files), str(images), embedder([Tracklet("a", files)])
    for side in sides:
        found = compare(side, files[0], model=model)
        assert found.similarity == pytest.approx(float(wanted), abs=1e-5)
    assert compare(images, files[0], model=model).frames == (3, 1)


def test_the_threshold_is_that_of_the_shorter_side(model, images, tmp_path):
    model.save_pretrained(tmp_path / "weights")
    model = STMGA.from_pretrained(tmp_path / "weights")
    rows = tuple(
        {"frames": n, "thresholds": [{"false_match_rate": RATE, "similarity": s, "true_match_rate": 0.5}]}
        for n, s in ((1, 0.4), (2, 0.5), (8, 0.6))
    )
    model.record = replace(model.record, calibration=calibration(model.digest()), frames=rows)
    files = [images / f"{i}.png" for i in (1, 2, 10)]
    for side, threshold, measured in ((files[0], 0.4, 1), (files[:2], 0.5, 2), (images, 0.5, 2)):
        found = compare(images, side, model=model)
        assert (found.threshold.similarity, found.measured_frames) == (threshold, measured)


def test_what_is_not_one_tracklet_is_refused(model, images):
    two = Embeddings(torch.eye(2), [{"tracklet": "a"}, {"tracklet": "b"}], digest="1f0c")
    with pytest.raises(ValueError, match=r"the second has 2 tracklets; compare one with one"):
        compare(row(1.0), two)
    with pytest.raises(ValueError, match=r"the first is not embedded yet: pass model="):
        compare(images, row(1.0))
    (images / "more").mkdir()
    (images / "1.png").rename(images / "more" / "1.png")
    with pytest.raises(ValueError, match="images above the level of tracklets"):
        compare(images, images, model=model)


def test_an_image_that_cannot_be_read_is_named(model, images):
    (images / "2.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"2\.png"):
        compare(images, images, model=model)


def test_other_weights_are_refused():
    with pytest.raises(ValueError, match="weights"):
        compare(row(1.0, digest="1f0c"), row(1.0, digest="2a2a"))
