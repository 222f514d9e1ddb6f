"""Numbers that no search can answer, and vectors that were changed after they were checked."""

import math

import pytest
import torch

from stmga import Embeddings, Gallery
from stmga.metrics import evaluate


def embeddings(n: int, *, seed: int = 0, name: str = "g") -> Embeddings:
    vectors = torch.nn.functional.normalize(torch.randn(n, 8, generator=torch.Generator().manual_seed(seed)))
    return Embeddings(vectors, [{"tracklet": f"{name}{i}", "person": i % 3, "camera": i % 2} for i in range(n)], "d")


@pytest.mark.parametrize("k", [0, -1, 1.5, math.nan, None, "3", True])
@pytest.mark.parametrize("what", ["k", "block"])
def test_k_and_block_are_whole_numbers(k: object, what: str) -> None:
    with pytest.raises(ValueError, match="k and block must be whole numbers of at least 1"):
        Gallery(embeddings(9)).search(embeddings(2, seed=1, name="q"), **{what: k})


@pytest.mark.parametrize("threshold", ["a", math.nan, math.inf, -1.1])
def test_a_threshold_is_a_cosine(threshold: object) -> None:
    with pytest.raises(ValueError, match=r"threshold is a cosine in -1\.\.1, got"):
        Gallery(embeddings(9)).search(embeddings(2, seed=1, name="q"), threshold=threshold)


def test_more_than_there_are_is_all_there_are() -> None:
    assert len(Gallery(embeddings(9)).search(embeddings(2, seed=1, name="q"), k=10**30)[0]) == 9


@pytest.mark.parametrize("value", [math.nan, math.inf, 3e38])
def test_vectors_that_were_changed_are_checked_again(value: float) -> None:
    gallery, changed = Gallery(embeddings(9)), embeddings(4, seed=1, name="q")
    changed.vectors[1] = value
    calls = (
        lambda: gallery.search(changed),
        lambda: gallery.add(changed),
        lambda: Gallery(changed),
        lambda: evaluate(changed, gallery.embeddings),
        lambda: evaluate(embeddings(9, seed=2, name="p"), changed),
    )
    for call in calls:
        with pytest.raises(ValueError, match="not finite"):
            call()
    assert len(gallery) == 9
