"""What the caller sets for the whole process changes no vector, no search and no score."""

import ast
import contextlib

import numpy as np
import pytest
import torch

from stmga import Gallery, TrackletEmbedder
from stmga.gallery import GalleryIndex
from stmga.metrics import Protocol, calibrate, evaluate
from tests.support.embedder import TINY, build
from tests.support.paths import ROOT

MAKERS = {
    "zeros", "ones", "empty", "full", "eye", "tensor", "as_tensor", "arange", "linspace", "logspace",
    "rand", "randn", "randint", "randperm", "normal",
}  # fmt: skip
FREE = {"stmga/blocks/lsta.py"}  # parameters: a module is built in the caller's default dtype, as torch builds its own


def people() -> dict[str, np.ndarray]:
    """Some frames of one size and some that the reader must resize."""
    rng = np.random.default_rng(0)
    return {f"p{i}": rng.integers(0, 255, (3, 40 + 30 * (i % 2), 20, 3), dtype=np.uint8) for i in range(4)}


def everything(embed: TrackletEmbedder) -> list:
    """Vectors, a search, an approximate one, a score and thresholds, as plain values."""
    found = embed(people())
    for i, item in enumerate(found.items):
        item |= {"person": i % 2, "camera": i // 2}
    gallery = Gallery(found)
    score = evaluate(found, found, Protocol(data="people", queries_in_gallery=False))
    values = [found.vectors.tolist(), [[(m.id, m.similarity) for m in row] for row in gallery.search(found, k=3)]]
    values += [score.mAP, [t.similarity for t in calibrate(found, false_match_rates=(0.5,)).thresholds]]
    with contextlib.suppress(ImportError):
        values.append([[m.id for m in row] for row in GalleryIndex(gallery).search(found, 2)])
    return values


@pytest.fixture(scope="module")
def expected():
    return everything(TrackletEmbedder(build(TINY).eval()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_another_default_dtype(expected, dtype):
    embed = TrackletEmbedder(build(TINY).eval())
    try:
        torch.set_default_dtype(dtype)
        assert everything(embed) == expected
    finally:
        torch.set_default_dtype(torch.float32)


def test_another_default_device(expected):
    """On the device "meta" every tensor that does not state its own device would lose its values."""
    embed = TrackletEmbedder(build(TINY).eval())
    try:
        torch.set_default_device("meta")
        assert everything(embed) == expected
    finally:
        torch.set_default_device(None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_an_autocast_around_the_call(expected, dtype):
    embed = TrackletEmbedder(build(TINY).eval())
    with torch.autocast("cpu", dtype=dtype):
        assert everything(embed) == expected


def test_the_network_itself_follows_the_callers_autocast():
    model = build(TINY).eval()
    clips = torch.rand(1, 2, 3, 32, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert model(clips).dtype == torch.bfloat16


@pytest.mark.parametrize("file", sorted((ROOT / "stmga").rglob("*.py")), ids=lambda file: str(file.relative_to(ROOT)))
def test_every_new_tensor_states_its_dtype_and_device(file):
    bare = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in MAKERS:
            of_torch = isinstance(node.func.value, ast.Name) and node.func.value.id == "torch"
            wanted = {"device"} if node.func.attr == "as_tensor" else {"dtype", "device"}
            if of_torch and wanted - {keyword.arg for keyword in node.keywords}:
                bare.append(f"line {node.lineno}: torch.{node.func.attr}")
    assert bare == [] or str(file.relative_to(ROOT)) in FREE
