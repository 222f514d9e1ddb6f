"""A gallery of a million tracklets in a SQLite file: enrol, forget, search, and memory.

    python -m benchmarks.speed.gallery_file --json benchmarks/results/gallery_file.json

Random unit vectors, 100,000 persons of ten tracklets each, eight cameras. The gallery in memory and the one in the file
answer the same queries in turns, each in a process of its own; memory is the most that the process of the file had
resident beyond what importing torch takes. What every figure must be is in `BARS`.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.turns import where
from stmga import Embeddings, Gallery
from stmga.utils.files import atomic_write

QUERIES = 100
PIECE = 10_000
BARS = {"enrol 1,000, s": 1.0, "forget one, s": 1.0, "search over memory": 2.0, "resident, MB": 400.0}


def piece(start: int, count: int, dim: int) -> Embeddings:
    """Tracklets start to start + count."""
    vectors = torch.randn(count, dim, generator=torch.Generator().manual_seed(start))
    items = [
        {
            "tracklet": f"track-{i:07}",
            "person": f"person-{i // 10}",
            "camera": i % 8,
            "time": float(i),
            "end_time": i + 5.0,
        }
        for i in range(start, start + count)
    ]
    return Embeddings(torch.nn.functional.normalize(vectors, dim=1), items, digest="1f0c")


def fill(path: Path, n: int, dim: int) -> float:
    """Seconds to add everything, piece by piece."""
    start = time.perf_counter()
    with Gallery.open(path) as gallery:
        for i in range(0, n, PIECE):
            gallery.add(piece(i, min(PIECE, n - i), dim))
    return time.perf_counter() - start


def queries(dim: int) -> Embeddings:
    vectors = torch.randn(QUERIES, dim, generator=torch.Generator().manual_seed(7))
    return Embeddings(vectors, [{"tracklet": f"q{i}"} for i in range(QUERIES)], digest="1f0c")


def in_memory(path: Path, n: int, dim: int) -> dict[str, float]:
    gallery = Gallery()
    for i in range(0, n, PIECE):
        gallery.add(piece(i, min(PIECE, n - i), dim))
    return {"search": timed(lambda: gallery.search(queries(dim), 10))}


def in_file(path: Path, n: int, dim: int) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    more, found = piece(n + PIECE, 1000, dim), {}
    with Gallery.open(path) as gallery:
        found["search"] = timed(lambda: gallery.search(queries(dim), 10))
        found["enrol 1,000, s"] = timed(lambda: gallery.enrol("newcomer", more))
        found["forget one, s"] = timed(lambda: gallery.forget("person-4711"))
        found["forget 1,000 tracklets, s"] = timed(lambda: gallery.forget("newcomer"))
        found["assign one, s"] = timed(lambda: gallery.assign(queries(dim)[:1], thresholds=(0.7, 0.4)))
        gallery.enrol("person-4711", piece(47110, 10, dim))
    found["resident, MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    return found


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def child(side: Callable[..., dict[str, float]], *given: object) -> dict[str, float]:
    """One side in a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(side, given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.db"
        filled = fill(path, args.tracklets, args.dim)
        given = path, args.tracklets, args.dim
        rounds = [(child(in_memory, *given), child(in_file, *given)) for _ in range(args.rounds)]
        size = path.stat().st_size
    figures = {name: [file[name] for _, file in rounds] for name in rounds[0][1]}
    figures["search over memory"] = [file["search"] / memory["search"] for memory, file in rounds]
    figures["search in memory"] = [memory["search"] for memory, _ in rounds]
    print(f"{args.tracklets:,} x {args.dim}: filled in {filled:.0f} s, {size / 1e6:,.0f} MB; {where()}")
    for name, values in figures.items():
        middle = statistics.median(values)
        bar = "" if name not in BARS else f"  at most {BARS[name]:g}: {'met' if middle <= BARS[name] else 'MISSED'}"
        print(f"{name:26} {middle:8.3f}  ({min(values):.3f} to {max(values):.3f}){bar}")
    if args.json:
        about = {"where": where(), "tracklets": args.tracklets, "dim": args.dim, "filled, s": filled, "bytes": size}
        atomic_write(args.json, (json.dumps(about | figures, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
