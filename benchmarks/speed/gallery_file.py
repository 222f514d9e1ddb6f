"""A gallery of a million tracklets in a SQLite file: enrol, forget, search, and memory.

    python -m benchmarks.speed.gallery_file --json benchmarks/results/gallery_file.json

Random unit vectors, 100,000 persons of ten tracklets each, eight cameras. The gallery in memory and the one in the file
answer the same 100 queries in turns, each in a process of its own. Memory is the most that a process had resident that
searches, writes and assigns in the file, beyond what it has resident after it imported torch. What every figure must be
is in `BARS`.
"""

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch

from benchmarks.turns import Side, in_turns_apart, where
from stmga import Embeddings, Gallery
from stmga.utils.files import atomic_write

QUERIES = 100
PIECE = 10_000
BARS = {"enrol 1,000, s": 1.0, "forget one, s": 1.0, "search over memory": 2.0, "resident added, MB": 400.0}


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


@contextmanager
def in_memory(n: int, dim: int) -> Iterator[Side]:
    gallery = Gallery()
    for i in range(0, n, PIECE):
        gallery.add(piece(i, min(PIECE, n - i), dim))
    yield lambda: gallery.search(queries(dim), 10)


@contextmanager
def in_file(path: Path, dim: int) -> Iterator[Side]:
    with Gallery.open(path, read_only=True) as gallery:
        yield lambda: gallery.search(queries(dim), 10)


def used(path: Path, n: int, dim: int) -> dict[str, float]:
    """Seconds of every other call, and the most memory, of a process that opens the file."""
    before, more, found = resident("VmRSS"), piece(n + PIECE, 1000, dim), {}
    with Gallery.open(path) as gallery:
        gallery.search(queries(dim), 10)
        found["enrol 1,000, s"] = timed(lambda: gallery.enrol("newcomer", more))
        found["forget one, s"] = timed(lambda: gallery.forget("person-471"))
        found["forget 1,000 tracklets, s"] = timed(lambda: gallery.forget("newcomer"))
        found["search after a change, s"] = timed(lambda: gallery.search(queries(dim), 10))
        found["assign one, s"] = timed(lambda: gallery.assign(queries(dim)[:1], thresholds=(0.7, 0.4)))
        gallery.enrol("person-471", piece(4710, 10, dim))
    return found | {"resident before, MB": before, "resident added, MB": resident("VmHWM") - before}


def resident(which: str) -> float:
    """MB of this process: VmRSS now, VmHWM the most so far. `ru_maxrss` would be the parent's, if that has more."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{which}:"))
    return int(line.split()[1]) / 1024


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def apart(path: Path, n: int, dim: int) -> dict[str, float]:
    """:func:`used` in a process of its own, so that its memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(used, (path, n, dim))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "people.db"
        filled = fill(path, args.tracklets, args.dim)
        sides = {"memory": partial(in_memory, args.tracklets, args.dim), "file": partial(in_file, path, args.dim)}
        searches = {name: side["seconds"] for name, side in in_turns_apart(sides, args.rounds, warm_up=1).items()}
        rounds = [apart(path, args.tracklets, args.dim) for _ in range(args.rounds)]
        size = path.stat().st_size
    figures = {f"search in {name}, s": times for name, times in searches.items()}
    figures["search over memory"] = [a / b for a, b in zip(searches["file"], searches["memory"], strict=True)]
    figures |= {name: [one[name] for one in rounds] for name in rounds[0]}
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
