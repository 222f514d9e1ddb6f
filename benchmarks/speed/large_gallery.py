"""Search in a million tracklets: exact against the bare product, smaller storage, and FAISS against exact.

    python -m benchmarks.speed.large_gallery
    python -m benchmarks.speed.large_gallery --count 100000 --kinds ivf hnsw --json out.json

Each of count / 8 persons is a random direction with 8 tracklets around it; a query is a ninth tracklet. So a few
neighbours are near and all others almost equally far, which is harder for an index than real embeddings. Search and
the bare product (one matrix product of all, then topk) run in turns in one run; the table shows medians and the median
of the ratios.
Extra memory is what the process's own pages grew by at the peak. What smaller storage costs on real vectors is measured
by precision.py.
"""

import argparse
import contextlib
import ctypes
import json
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.rows import Row, spread_of
from benchmarks.turns import in_turns, seconds, where
from stmga import Embeddings, Gallery
from stmga.embedding.vectors import KINDS
from stmga.gallery.approximate import GalleryIndex

PAGE = 4096


def people(count: int, dim: int, queries: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Gallery (count dim) and queries (queries dim), of unit length."""
    draw = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(-(-count // 8), dim, generator=draw))

    def around(which: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(which), dim, generator=draw) / dim**0.5
        return torch.nn.functional.normalize(centres[which] + 0.7 * noise)

    gallery = torch.cat([around(rows) for rows in (torch.arange(count) // 8).split(65536)])
    return gallery, around(torch.randint(len(centres), (queries,), generator=draw))


class Peak:
    """The growth of the process's own pages (not those of mapped files) while a block runs, in MB."""

    def __enter__(self) -> "Peak":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)  # pages that were freed but kept would hide what is taken again
        self.before, self.most, self.stop = own(), 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def watch(self) -> None:
        while not self.stop.wait(0.002):
            self.most = max(self.most, own())

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()
        self.megabytes = max(0, self.most - self.before) / 1e6


def own() -> int:
    resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - shared) * PAGE


def exact(gallery: Gallery, vectors: torch.Tensor, queries: Embeddings, k: int, rounds: int) -> dict:
    """Exact search over the bare product, in turns."""
    bare = lambda: (queries.vectors @ vectors.T).topk(k)  # noqa: E731
    search = lambda: gallery.topk(queries, k)  # noqa: E731
    found = in_turns({"bare": bare, "search": search}, rounds, warm_up=1)
    with Peak() as peak:
        search()
    return {
        "storage": gallery.storage,
        "bare_s": found["bare"]["seconds"],
        "search_s": found["search"]["seconds"],
        "ratio": found["search"]["ratio"],
        "quartiles": found["search"]["ratio_quartiles"],
        "extra_mb": peak.megabytes,
    }


def recall(truth: torch.Tensor, found: torch.Tensor) -> float:
    """(q k), (q k) rows of a gallery: the share of each query's k nearest that is found."""
    return float((truth[:, :, None] == found[:, None, :]).any(2).float().mean())


def approximate(gallery: Gallery, queries: Embeddings, kind: str, k: int, truth: torch.Tensor, rounds: int) -> dict:
    """Build, then recall and queries a second at several efforts."""
    start = time.perf_counter()
    index = GalleryIndex(gallery, kind=kind)
    built = time.perf_counter() - start
    efforts = [32, 128, 512] if kind == "hnsw" else [8, 32, 128]
    rows = []
    for effort in efforts:
        index.effort = effort
        _, found = index.topk(queries, k)
        took = statistics.median(seconds(lambda: index.topk(queries, k)) for _ in range(rounds))
        rows.append({"effort": effort, "recall": recall(truth, found), "queries_per_s": len(queries) / took})
    return {"kind": kind, "build_s": built, "rows": rows}


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    size = found["settings"]
    what = f"exact search, {size['count']:,} x {size['dim']}, {size['queries']} queries, top {size['top']}"
    for row in found["exact"]:
        full = row["storage"] == "float32"
        words = f"{what}, {row['storage']}" + ("" if full else f" (recall {row['recall']:.4f})")
        yield Row(f"{words}, over product and top-k", row["ratio"], spread_of(row["quartiles"]), 1.5 if full else None)
        yield Row(f"{words}: extra memory", row["extra_mb"], bar=200 if full else None, unit=" MB")
    for kind in found["approximate"]:
        for row in kind["rows"]:
            words = f"FAISS {kind['kind']}, effort {row['effort']}: recall@{size['top']} {row['recall']:.3f}"
            yield Row(words, row["queries_per_s"], unit=" queries/s")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--top", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", nargs="*", default=["ivf", "ivf-int8", "hnsw"])
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    result: dict = {"where": where(), "settings": {k: v for k, v in vars(args).items() if k != "json"}}
    print(f"{result['where']}; {args.count:,} x {args.dim}, {args.queries} queries, top {args.top}")
    vectors, wanted = people(args.count, args.dim, args.queries)
    items = [{"tracklet": str(i)} for i in range(args.count)]
    queries = Embeddings(wanted, [{"tracklet": f"q{i}"} for i in range(args.queries)], digest="1")
    print(f"\n{'exact':<10}{'bare s':>9}{'search s':>10}{'ratio':>7}{'quartiles':>14}{'extra MB':>10}{'recall':>8}")
    result["exact"], truth, gallery = [], None, Gallery()
    for kind in reversed(KINDS):  # float32 last, which the indexes then use
        gallery = Gallery(Embeddings(vectors, items, digest="1"), storage=kind)
        row = exact(gallery, vectors, queries, args.top, args.rounds)
        if truth is None:
            _, truth = Gallery(Embeddings(vectors, items, digest="1")).topk(queries, args.top)
        _, found = gallery.topk(queries, args.top)
        row["recall"] = recall(truth, found)
        result["exact"].append(row)
        spread = "-".join(f"{r:.2f}" for r in row["quartiles"])
        print(
            f"{kind:<10}{row['bare_s']:>9.3f}{row['search_s']:>10.3f}{row['ratio']:>7.2f}{spread:>14}"
            f"{row['extra_mb']:>10.0f}{row['recall']:>8.4f}",
            flush=True,
        )
    assert truth is not None
    result["approximate"] = []
    keep(result, args.json)  # the indexes take minutes: what is measured is not lost with them
    print(f"\n{'index':<10}{'build s':>9}{'effort':>8}{'recall':>8}{'queries/s':>11}")
    for kind in args.kinds:
        found = approximate(gallery, queries, kind, args.top, truth, args.rounds)
        result["approximate"].append(found)
        keep(result, args.json)
        for row in found["rows"]:
            print(
                f"{kind:<10}{found['build_s']:>9.0f}{row['effort']:>8}{row['recall']:>8.4f}{row['queries_per_s']:>11.0f}",
                flush=True,
            )


def keep(result: dict, file: Path | None) -> None:
    if file:
        file.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
