"""A gallery in LanceDB at a million tracklets: exact, and with its index beside FAISS; adding, forgetting, memory.

    python -m benchmarks.speed.lance
    python -m benchmarks.speed.lance --count 200000 --kinds ivf --json out.json

The vectors are those of large_gallery.py, hard for any index. FAISS and LanceDB have the same number of lists, and
search the same number of them. Recall is the share of the ten nearest of the exact search. Queries come in one batch.
Extra memory is what the process's own pages grew by at the peak; LanceDB caches what it has read, FAISS has its index
in memory.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.speed.large_gallery import Peak, keep, people, recall
from benchmarks.turns import seconds, where
from stmga import Embeddings, Gallery
from stmga.gallery import GalleryIndex, LanceGallery, Where

_BLOCK = 50_000


def filled(folder: str, vectors: torch.Tensor) -> LanceGallery:
    """A new gallery; person and camera are known of every tracklet."""
    gallery = LanceGallery(folder)
    for start in range(0, len(vectors), _BLOCK):
        some = vectors[start : start + _BLOCK]
        items = [
            {"tracklet": str(i), "person": f"p{i // 8}", "camera": i % 10} for i in range(start, start + len(some))
        ]
        gallery.add(Embeddings(some, items, digest="1"))
    return gallery


def timed(work: Callable[[], object], rounds: int = 1) -> dict[str, float]:
    """Median seconds, and the growth of memory of one more run."""
    took = [seconds(work) for _ in range(rounds)]
    with Peak() as peak:
        if rounds > 1:
            work()
    return {"s": statistics.median(took), "least_s": min(took), "most_s": max(took), "extra_mb": peak.megabytes}


def once(work: Callable[[], object]) -> dict[str, float]:
    """Seconds and memory of something that is done once."""
    start = time.perf_counter()
    with Peak() as peak:
        work()
    return {"s": time.perf_counter() - start, "extra_mb": peak.megabytes}


def without_index(gallery: LanceGallery, memory: Gallery, queries: Embeddings, k: int, rounds: int) -> dict:
    """Exact search here and in memory, and with a filter that a tenth of the tracklets pass."""
    tenth = Where(cameras=[3])
    exact = memory.topk(queries, k)[1]
    assert torch.equal(gallery.topk(queries, k)[1], exact), "the exact search differs from that in memory"
    return {
        "memory": timed(lambda: memory.topk(queries, k), rounds),
        "lance": timed(lambda: gallery.topk(queries, k), rounds),
        "lance, a tenth passes the filter": timed(lambda: gallery.topk(queries, k, where=tenth), rounds),
    }


def with_index(
    name: str,
    index: GalleryIndex | LanceGallery,
    queries: Embeddings,
    truth: torch.Tensor,
    efforts: list[int],
    rounds: int,
) -> list[dict]:
    """Recall and queries a second, by effort."""
    rows = []
    k = truth.shape[1]
    for effort in efforts:
        index.effort = effort
        share = recall(truth, index.topk(queries, k)[1])
        found = timed(lambda: index.topk(queries, k), rounds)
        rows.append(
            {
                "index": name, "effort": effort, "recall": share, "queries_per_s": len(queries) / found["s"],
                "least": len(queries) / found["most_s"], "most": len(queries) / found["least_s"],
                "extra_mb": found["extra_mb"],
            }
        )  # fmt: skip
        row = rows[-1]
        print(
            f"{name:<16}{effort:>8}{share:>9.4f}{row['queries_per_s']:>11.0f}"
            f"{row['least']:>8.0f}-{row['most']:<8.0f}{row['extra_mb']:>9.0f}",
            flush=True,
        )
    return rows


def changes(gallery: LanceGallery, dim: int) -> dict:
    """A thousand more, then one person less."""
    more = torch.nn.functional.normalize(torch.randn(1000, dim, generator=torch.Generator().manual_seed(1)))
    items = [{"tracklet": f"new{i}"} for i in range(len(more))]
    enrolled = once(lambda: gallery.enrol("newcomer", Embeddings(more, items, digest="1")))
    return {"enrol 1,000": enrolled, "forget them": once(lambda: gallery.forget("newcomer"))}


def show(rows: dict) -> None:
    for name, row in rows.items():
        print(f"{name:<34}{row['s']:>9.3f} s{row['extra_mb']:>9.0f} MB", flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--efforts", type=int, nargs="+", default=[32, 128])
    parser.add_argument("--kinds", nargs="*", default=["ivf", "ivf-int8", "ivf-pq"])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    result: dict = {"where": where(), "settings": {k: v for k, v in vars(args).items() if k != "json"}}
    print(f"{result['where']}; {args.count:,} x {args.dim}, {args.queries} queries, top {args.top}")
    vectors, wanted = people(args.count, args.dim, args.queries)
    queries = Embeddings(wanted, [{"tracklet": f"q{i}"} for i in range(args.queries)], digest="1")
    memory = Gallery(Embeddings(vectors, [{"tracklet": str(i)} for i in range(args.count)], digest="1"))
    truth = memory.topk(queries, args.top)[1]
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        gallery = filled(f"{folder}/people.lance", vectors)
        result["add_s"] = time.perf_counter() - start
        print(f"\nall added in {result['add_s']:.1f} s")
        result["exact"] = without_index(gallery, memory, queries, args.top, args.rounds)
        result["changes"] = changes(gallery, args.dim)
        show(result["exact"] | result["changes"])
        keep(result, args.json)
        print(f"\n{'index':<16}{'effort':>8}{'recall':>9}{'queries/s':>11}{'spread':>12}{'extra MB':>14}")
        result["approximate"], result["build"] = [], {}
        for kind in args.kinds:
            if kind in ("ivf", "ivf-int8"):
                start = time.perf_counter()
                index = GalleryIndex(memory, kind=kind)
                result["build"][f"faiss {kind}"] = {"s": time.perf_counter() - start}
                result["approximate"] += with_index(f"FAISS {kind}", index, queries, truth, args.efforts, args.rounds)
                del index
            result["build"][f"lance {kind}"] = once(lambda kind=kind: gallery.create_index(kind=kind))
            result["approximate"] += with_index(f"LanceDB {kind}", gallery, queries, truth, args.efforts, args.rounds)
            keep(result, args.json)
        result["changes with an index"] = changes(gallery, args.dim)
        show(result["changes with an index"])
        print(f"built: {json.dumps(result['build'])}")
        keep(result, args.json)


if __name__ == "__main__":
    main()
