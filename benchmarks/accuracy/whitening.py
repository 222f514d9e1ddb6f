"""How many persons a whitening layer needs, and how much shrinkage: mAP on the other half of mars8-dev.

    python -m benchmarks.accuracy.whitening ../shared/data -o runs/whitening

Every other identity, in order of their numbers, is for solving the layer; the rest is the test, as in
`benchmarks.accuracy.fine_tuning`. Both halves are embedded once. Then layers are solved from all persons of the first
half with several shrinkages, and from some of them, drawn five times. The figures are of half of mars8-dev, not of
MARS.
"""

import argparse
import json
import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.accuracy.fine_tuning import halves
from benchmarks.turns import where
from stmga import Embeddings, TrackletEmbedder, create_model
from stmga.data import load_benchmark
from stmga.metrics import evaluate
from stmga.metrics.protocol import Protocol
from stmga.train import whitening, whitening_of
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

PERSONS = (10, 20, 40, 80)
SHRINKAGES = (1.0, 3.0, 10.0)
DRAWS = 5


@dataclass(frozen=True)
class Embedded:
    """The labelled half and the test as vectors of one network."""

    labelled: Embeddings
    query: Embeddings
    gallery: Embeddings
    protocol: Protocol

    def scores(self, layer: Tensor) -> dict[str, float]:
        """The test through a layer, in percent."""
        query, gallery = (whitening.through(side, layer, "whitened") for side in (self.query, self.gallery))
        found = evaluate(query, gallery, self.protocol)
        return {"mAP": round(100 * found.mAP, 2), "rank-1": round(100 * found.rank(1), 2)}

    def whitened(self, persons: Collection[object], shrinkage: float) -> dict[str, float]:
        """The test through the layer of these persons."""
        chosen = set(persons)
        some = self.labelled.select([row for row, person in enumerate(self.labelled.persons) if person in chosen])
        return self.scores(whitening_of(some.vectors, some.persons, shrinkage=shrinkage))

    def rows(self) -> Iterator[dict[str, float]]:
        """Every figure of the table, the network as it is first."""
        every = list(dict.fromkeys(self.labelled.persons))
        yield {"persons": 0, **self.scores(torch.eye(self.query.dim))}
        for shrinkage in SHRINKAGES:
            yield {"persons": len(every), "shrinkage": shrinkage, **self.whitened(every, shrinkage)}
        for count in PERSONS:
            for draw in range(DRAWS):
                some = random.Random(draw).sample(every, count)
                yield {"persons": count, "draw": draw, "shrinkage": 3.0, **self.whitened(some, 3.0)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mars8-dev.zip")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for the unpacked data")
    parser.add_argument("--weights", default="stmga_resnet18_c4")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/whitening.json"))
    args = parser.parse_args()
    test = load_benchmark(halves(args.data, args.out) / "half.jsonl")
    embedder = TrackletEmbedder(create_model(args.weights, pretrained=True), precision=args.precision, progress=True)
    whitening.PERSONS = 2  # to show what happens below the limit
    rows = list(Embedded(*map(embedder, (test.train, test.query, test.gallery)), test.protocol).rows())
    columns = ("persons", "draw", "shrinkage", "mAP", "rank-1")
    print(text_table(columns, [[str(row.get(name, "")) for name in columns] for row in rows]))
    result = {"where": where(), "weights": args.weights, "precision": args.precision, "rows": rows}
    atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
