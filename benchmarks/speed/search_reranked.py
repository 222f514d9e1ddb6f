"""Time and memory of `Gallery.search(rerank=True)` beside plain search.

    python -m benchmarks.speed.search_reranked --json benchmarks/results/search_reranked.json

Vectors as in large_gallery.py. Memory is what the process's own pages grew by at the peak, beyond the vectors of
gallery and queries. Each size runs once: the time grows with the square of all tracklets.
"""

import argparse
import json
from pathlib import Path

from benchmarks.speed.large_gallery import Peak, people
from benchmarks.turns import seconds, where
from stmga import Embeddings, Gallery
from stmga.utils.text import text_table

SIZES = ((776, 3_336), (1_000, 100_000))  # queries and gallery: as mars8-dev, and thirty times as many


def measured(queries: int, count: int, dim: int) -> dict[str, object]:
    vectors, asked = people(count, dim, queries)
    items = [{"tracklet": str(i)} for i in range(count)]
    gallery = Gallery(Embeddings(vectors, items, digest="1f0c"))
    asking = Embeddings(asked, [{"tracklet": f"q{i}"} for i in range(queries)], digest="1f0c")
    found: dict[str, object] = {"queries": queries, "gallery": count, "dim": dim}
    for way, rerank in (("plain", False), ("reranked", True)):
        gallery.search(asking[:2], 10)  # threads, caches, first calls
        with Peak() as peak:
            took = seconds(lambda rerank=rerank: gallery.search(asking, 10, rerank=rerank))
        found[way] = {"seconds": took, "extra_MB": peak.megabytes}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    runs = [measured(*size, args.dim) for size in SIZES]
    rows = [
        [run["queries"], run["gallery"], way, f"{run[way]['seconds']:.2f}", f"{run[way]['extra_MB']:.0f}"]
        for run in runs for way in ("plain", "reranked")
    ]  # fmt: skip
    print(text_table(["queries", "gallery", "search", "seconds", "MB beyond the vectors"], rows))
    if args.json:
        args.json.write_text(json.dumps({"where": where(), "runs": runs}, indent=1) + "\n")


if __name__ == "__main__":
    main()
