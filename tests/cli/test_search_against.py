"""`stmga search --against`: two networks in one picture, and what cannot be compared."""

import numpy as np
import pytest
import torch
from PIL import Image

from stmga import STMGA, Embeddings
from stmga.cli import ranked
from tests.support.cli import TINY


@pytest.fixture(name="both", scope="module")
def both_fixture(place):
    """The walkers embedded by another network, in another order."""
    from stmga.cli.main import main

    torch.manual_seed(2)
    STMGA(TINY).save_pretrained(place / "other")
    out = place / "other.safetensors"
    crops = place / "crops/manifest.jsonl"
    assert main(["embed", str(crops), "-o", str(out), "--model", str(place / "other"), "-q"]) == 0
    found = Embeddings.load(out)
    found.select(list(range(len(found)))[::-1]).save(out)
    return place / "all.safetensors", out


WHERE = ("--where", "role=query", "--gallery-where", "role=gallery")


def test_the_same_queries_by_two_networks(both, run, tmp_path, monkeypatch):
    first, other = both
    seen = []
    from stmga import visualize

    real = visualize.compared_picture
    monkeypatch.setattr(visualize, "compared_picture", lambda *a, **k: seen.append((a, k)) or real(*a, **k))
    picture = tmp_path / "both.png"
    code, text, err = run("search", first, first, *WHERE, "--picture", picture, "--against", other, other)
    assert code == 0, err
    assert f"wrote {picture}" in text
    queries, matches = seen[0][0]
    vectors = {}
    for file, (name, found) in zip(both, matches.items(), strict=True):
        everything = Embeddings.load(file)
        rows = dict(zip(everything.ids, everything.vectors, strict=True))
        roles = {item["tracklet"]: item["role"] for item in everything.items}
        gallery = sorted(name for name, role in roles.items() if role == "gallery")
        for query, cards in zip(queries, found, strict=True):
            best = max(gallery, key=lambda name: float(rows[query.tracklet] @ rows[name]))
            assert cards[0].tracklet == best
            assert cards[0].similarity == pytest.approx(float(rows[query.tracklet] @ rows[best]), abs=1e-5)
        vectors[name] = rows
    assert len(vectors) == 2  # two headings, though both are unnamed weights of this network
    with Image.open(picture) as image:
        assert np.asarray(image).shape[1] > 1000


def test_what_cannot_be_compared(both, fails, tmp_path):
    first, other = both
    assert "--against is drawn into a picture: add --picture FILE" in fails(
        "search", first, first, "--against", other, other
    )
    few = tmp_path / "few.safetensors"
    Embeddings.load(other).select([0, 1, 2]).save(few)
    words = fails("search", first, first, "--picture", tmp_path / "p.png", "--against", other, few)
    assert f"the gallery of {few} are not those of the first network (7 tracklets are in one of the two" in words
    assert "embed the same tracklets with both" in words
    words = fails("search", first, first, "--picture", tmp_path / "p.png", "--against", few, other)
    assert f"the queries of {few} are not those" in words
    nowhere = tmp_path / "none.safetensors"
    assert "no embeddings file" in fails(
        "search", first, first, "--picture", tmp_path / "p.png", "--against", nowhere, other
    )
    assert not (tmp_path / "p.png").exists() and ranked.ROWS == 6
