"""Linking tracklets into persons: BCubed and pairwise scores on labelled embeddings, beside average linkage.

    python -m benchmarks.accuracy.linking vectors/small.safetensors vectors/flagship.safetensors

EMBEDDINGS are labelled, as `stmga embed mars8-dev/index.jsonl` makes them. Each seed splits their identities into two
halves. Each half is linked with the thresholds that are calibrated on the other half, once each way; figures are means
over all halves. mars8-dev has no times, so this measures the vectors and the linkage alone.

- `link` at a rate: `stmga.link` at the threshold of this false-match rate (0.001 is its default)
- average linkage: scipy's, on 1 - cosine, at the threshold of 0.001 and at the best of 71 cuts, which is chosen on the
  labels of the half itself and so cannot be reached in practice

Results join benchmarks/results/linking.json, one entry per weight.
"""

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from benchmarks.turns import where
from stmga import Embeddings
from stmga.metrics import calibrate
from stmga.people import link
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

RATES = (1e-2, 1e-3, 1e-4)
CUTS = np.linspace(0.2, 0.9, 71)
FIGURES = ("BCubed precision", "BCubed recall", "BCubed F1", "pairwise precision", "pairwise recall", "pairwise F1",
           "adjusted Rand index", "persons found / true")  # fmt: skip


def scores(found: Sequence[int], persons: Sequence[object]) -> dict[str, float]:
    """Scores of a clustering: BCubed (Bagga and Baldwin 1998), over pairs, and the adjusted Rand index; 0..1."""
    n = len(found)
    both, ours, true = Counter(zip(found, persons, strict=True)), Counter(found), Counter(persons)
    precision = sum(count**2 / ours[f] for (f, _), count in both.items()) / n
    recall = sum(count**2 / true[p] for (_, p), count in both.items()) / n
    hits, linked, same = (sum(c * (c - 1) / 2 for c in counts.values()) for counts in (both, ours, true))
    chance = linked * same / (n * (n - 1) / 2)
    pair_precision, pair_recall = hits / linked if linked else 1.0, hits / same if same else 1.0
    return dict(zip(FIGURES, (
        precision, recall, _mean(precision, recall),
        pair_precision, pair_recall, _mean(pair_precision, pair_recall),
        (hits - chance) / ((linked + same) / 2 - chance), len(ours) / len(true),
    ), strict=True))  # fmt: skip


def _mean(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def halves(embeddings: Embeddings, seed: int) -> tuple[Embeddings, Embeddings]:
    """Two halves of the identities, drawn by a seed."""
    persons = sorted(set(map(str, embeddings.persons)))
    first = set(np.random.default_rng(seed).permutation(persons)[: len(persons) // 2])
    inside = [str(person) in first for person in embeddings.persons]
    return embeddings.select(inside), embeddings.select([not one for one in inside])


def measured(part: Embeddings, other: Embeddings) -> dict[str, dict[str, float]]:
    """Every way of linking one half, with the thresholds of the other."""
    calibration = calibrate(other, false_match_rates=RATES)
    part = replace(part, calibration=calibration)
    persons = [str(person) for person in part.persons]
    found = {}
    for rate in RATES:
        people = link(part, false_match_rate=rate)
        found[f"link at {rate:g}"] = scores([row.identity for row in people], persons)
    cosines = np.clip(part.vectors.numpy() @ part.vectors.numpy().T, -1, 1)
    np.fill_diagonal(cosines, 1)
    tree = linkage(squareform(1 - cosines, checks=False), "average")
    cut = calibration.threshold(1e-3).similarity
    found["average linkage at 0.001"] = scores(fcluster(tree, 1 - cut, "distance").tolist(), persons)
    every = [scores(fcluster(tree, 1 - c, "distance").tolist(), persons) for c in CUTS]
    found["average linkage, best cut"] = max(every, key=lambda s: s["BCubed F1"])
    return found


def rows_of(name: str, ways: dict[str, dict[str, float]]) -> Iterator[list[str]]:
    """Rows for a table."""
    for way, figures in ways.items():
        values = [figures[f] for f in ("BCubed precision", "BCubed recall", "BCubed F1", "pairwise F1",
                                       "adjusted Rand index", "persons found / true")]  # fmt: skip
        yield [name, way, *(f"{value:.3f}" for value in values)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", nargs="+", type=Path, help="labelled embeddings, one file per weight")
    parser.add_argument("--seeds", type=int, default=3, help="how many times halves are drawn (default: 3)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/linking.json"))
    args = parser.parse_args()
    result = json.loads(args.json.read_text()) if args.json.exists() else {}
    table = []
    for path in args.embeddings:
        embeddings = Embeddings.load(path)
        every = []
        for seed in range(args.seeds):
            parts = halves(embeddings, seed)
            every += [measured(part, other) for part, other in (parts, parts[::-1])]
        ways = {
            way: {figure: statistics.mean(one[way][figure] for one in every) for figure in FIGURES} for way in every[0]
        }  # fmt: skip
        result[embeddings.model] = {
            "where": where(), "tracklets": len(embeddings), "seeds": args.seeds, "ways": ways,
            "halves": [{way: one[way]["BCubed F1"] for way in one} for one in every],
        }  # fmt: skip
        table += rows_of(embeddings.model, ways)
    header = ["weight", "way", "BCubed precision", "recall", "F1", "pairwise F1", "adjusted Rand", "persons / true"]
    print(text_table(header, table))
    atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())
    print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
