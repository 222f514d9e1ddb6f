"""The benchmark of sharp crops in a soft gallery: its four ways, against loops, and its file."""

import json
import statistics
import sys

import pytest
import torch

from benchmarks.accuracy import sharp_soft as bench
from stmga import Embeddings
from tests.support.paths import ROOT
from tests.support.tracklets import noise
from tests.support.train import tiny


def vectors(persons: int, camera: int, seed: int) -> Embeddings:
    x = torch.randn(persons, 6, generator=torch.Generator().manual_seed(seed))
    items = [{"tracklet": f"{person}-{camera}", "person": person, "camera": camera} for person in range(persons)]
    return Embeddings(torch.nn.functional.normalize(x, dim=1), items, digest="1f0c")


def by_hand(queries: Embeddings, gallery: Embeddings) -> tuple[float, float, float]:
    """Every query has one match: its rank gives both scores."""
    places, others = [], []
    for i, x in enumerate(queries.vectors):
        cosines = [float(x @ y) for y in gallery.vectors]
        places.append(1 + sum(c > cosines[i] for c in cosines))
        others += cosines[:i] + cosines[i + 1 :]
    rank = statistics.mean(place == 1 for place in places)
    return 100 * rank, 100 * statistics.mean(1 / place for place in places), statistics.mean(others)


def test_each_way_is_the_mean_of_both_directions():
    found = {kind: {c: vectors(9, c, seed=10 * k + c) for c in (1, 2)} for k, kind in enumerate(("soft", "sharp"))}
    rows = bench.ways(found)
    assert list(rows) == ["soft -> soft", "sharp -> sharp", "sharp -> soft", "soft -> sharp"]
    for way, row in rows.items():
        asked, searched = way.split(" -> ")
        both = [by_hand(found[asked][a], found[searched][b]) for a, b in ((1, 2), (2, 1))]
        expected = [statistics.mean(values) for values in zip(*both, strict=True)]
        assert list(row.values()) == pytest.approx(expected, abs=1e-4), way
    assert len({row["mAP"] for row in rows.values()}) == 4


def test_it_measures_weights_and_says_what_they_have_seen(tmp_path, monkeypatch, capsys):
    for kind, size in (("soft", (32, 64)), ("sharp", (60, 130))):
        folder = tmp_path / f"cuhk03-held-{kind}"
        rows = []
        for person in range(3):
            for camera, role in ((1, "query"), (2, "gallery")):
                name = f"{person}{camera}.png"
                noise(folder / name, seed=person, size=size)
                row = {"tracklet": name, "person": person, "camera": camera, "role": role, "frames": [name]}
                rows.append(json.dumps(row) + "\n")
        (folder / "index.jsonl").write_text("".join(rows))
    tiny().save_pretrained(tmp_path / "mine" / "last")
    file = tmp_path / "found.json"
    for name, seen in (("first", "no"), ("second", "both")):
        words = ["--model", tmp_path / "mine" / "last", "--data", tmp_path, "--seen", seen, "--json", file]
        monkeypatch.setattr(
            sys, "argv", ["sharp_soft.py", *map(str, words), *(["--name", name] if name == "first" else [])]
        )
        bench.main()
    kept = json.loads(file.read_text())
    assert list(kept["weights"]) == ["first", "mine/last"]
    assert kept["weights"]["first"]["seen"] == "nobody"
    assert kept["weights"]["mine/last"]["seen"] == "all 100, as soft and sharp crops"
    assert kept["weights"]["first"]["ways"]["soft -> soft"]["rank-1"] == 100  # the same picture for either camera
    assert str(tmp_path) not in file.read_text()
    assert "| `first` | nobody | sharp -> soft |" in capsys.readouterr().out


def test_the_page_shows_the_kept_figures():
    kept = json.loads((ROOT / "benchmarks" / "results" / "sharp_soft.json").read_text())
    assert bench.table(kept["weights"]) in (ROOT / "docs" / "train" / "trials.md").read_text()
    for name in ("stmga_resnet18_c4_baseline", "stmga_resnet50_c4"):  # trained on all of CUHK03
        assert kept["weights"][f"{name}.market_cuhk03"]["seen"] == "all 100, as soft crops"
