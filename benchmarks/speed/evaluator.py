"""The cost of an evaluation at the size of MARS: 1,980 queries, 11,310 gallery tracklets, 2048-dimensional vectors.

    python -m benchmarks.speed.evaluator --json benchmarks/results/evaluator.json

Random features around one centre a person, MARS's own counts of persons, distractors and cameras. Every side runs in a
child process of its own, in turns; CPU seconds are `time.process_time`, memory is the peak (ru_maxrss) above what the
process had with the features loaded. Sides, all giving the same numbers:

- product: the cosines alone, in blocks, not kept: the minimum for any evaluator
- stmga: `stmga.metrics.evaluate`, product included
- rows: the whole matrix, then one numpy sort a query: the plain form
- loop: the whole matrix, then a list comprehension over all gallery ranks of each query: the form most code has
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import Row

ROOT = Path(__file__).parents[2]
QUERIES, GALLERY, PERSONS, DISTRACTORS, CAMERAS = 1980, 11310, 626, 3248, 6
SIDES = ("product", "stmga", "rows", "loop")


def features(dim: int, noise: float = 3.0, seed: int = 0):
    """Unit vectors, persons and cameras of queries and gallery; person 0 is a distractor."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(PERSONS + 1, dim)).astype(np.float32)
    sides = []
    for n, distractors in ((QUERIES, 0), (GALLERY, DISTRACTORS)):
        person = np.concatenate([np.zeros(distractors, int), 1 + np.arange(n - distractors) % PERSONS])
        x = random.standard_normal((n, dim), dtype=np.float32)
        x *= noise
        for i in range(n):  # in place: the features are all the memory there is
            if person[i]:
                x[i] += centres[person[i]]
            x[i] /= np.linalg.norm(x[i])
        sides.append((x, person, random.integers(1, CAMERAS + 1, n)))
    return sides


def product(q, g, block=370):
    """The cosines of `block` queries at a time, by the library's routine, discarded."""
    from stmga.metrics.similarity import product as multiply

    out = torch.empty(block, len(g[0]))
    x, y = torch.from_numpy(q[0]), torch.from_numpy(g[0])
    for part in x.split(block):
        multiply(part, y, out=out[: len(part)])
    return {}


def library(q, g):
    """`evaluate`, product included."""
    from stmga.metrics import Protocol, evaluate

    result = evaluate(q, g, Protocol(distractors=(0,), queries_in_gallery=False))
    return {"mAP": result.mAP, "rank-1": result.rank(1), "queries": result.scores.queries}


def embeddings(prefix, x, persons, cameras):
    """The same features, not copied, as the library takes them."""
    from stmga import Embeddings

    labels = zip(persons.tolist(), cameras.tolist(), strict=True)
    items = [{"tracklet": f"{prefix}{i}", "person": p, "camera": c} for i, (p, c) in enumerate(labels)]
    return Embeddings(torch.from_numpy(x), items, digest="1f0c")


def rows(q, g):
    """Whole matrix, one sort a query."""
    (x, person, camera), (y, persons, cameras) = q, g
    distance = 1 - x @ y.T
    precisions, firsts = [], []
    for i in range(len(x)):
        order = np.argsort(distance[i])
        order = order[~((persons[order] == person[i]) & (cameras[order] == camera[i]))]
        places = np.flatnonzero(persons[order] == person[i])
        if len(places):
            precisions.append(np.mean(np.arange(1, len(places) + 1) / (places + 1)))
            firsts.append(places[0])
    return {"mAP": np.mean(precisions), "rank-1": np.mean(np.array(firsts) < 1), "queries": len(firsts)}


def loop(q, g):
    """Whole matrix, all sorted at once, and for each query a Python list over every rank of the gallery."""
    (x, person, camera), (y, persons, cameras) = q, g
    order = np.argsort(1 - x @ y.T, axis=1)
    precisions, firsts = [], []
    for i in range(len(x)):
        ranked = order[i]
        stays = ~((persons[ranked] == person[i]) & (cameras[ranked] == camera[i]))
        right = (persons[ranked] == person[i])[stays].astype(np.int32)
        if not right.any():
            continue
        hits = right.cumsum()
        precision = [count / (rank + 1) for rank, count in enumerate(hits)]
        precisions.append((np.asarray(precision) * right).sum() / right.sum())
        firsts.append(right[0])
    return {"mAP": np.mean(precisions), "rank-1": np.mean(firsts), "queries": len(firsts)}


def child(side: str, dim: int) -> None:
    import stmga.metrics  # noqa: F401 - loaded for all sides: what is measured is the work

    run = {"product": product, "stmga": library, "rows": rows, "loop": loop}[side]
    q, g = features(dim)
    small = [tuple(column[-700:] for column in side) for side in (q, g)]
    if side == "stmga":
        q, g, *small = (embeddings(name, *s) for name, s in zip("qgqg", (q, g, *small), strict=True))
    run(*small)  # threads, caches, first calls
    print(json.dumps(measured(run, q, g)))


def measured(run, *args) -> dict:
    """What `run` returns, and what it took."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak so far is forgotten: what loading took does not hide what the work takes
    peak, cpu, wall = _peak(), time.process_time(), time.perf_counter()
    result = {key: float(value) for key, value in run(*args).items()}
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return result | {"cpu_s": cpu, "wall_s": wall, "peak_MB": _peak() - peak}


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def measure(side: str, dim: int) -> dict:
    command = [sys.executable, "-m", "benchmarks.speed.evaluator", "--child", side, "--dim", str(dim)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    ours, loop = found["median"]["stmga"], found["median"]["loop"]
    size = f"evaluation at the size of MARS, {found['queries']:,} x {found['gallery']:,} x {found['dim']:,}"
    yield Row(f"{size}: CPU beyond the product", ours["cpu_beyond_product_s"], unit=" s")
    share = ours["cpu_beyond_product_s"] / loop["cpu_beyond_product_s"]
    yield Row("the same over the usual loop", share)
    yield Row("the same: memory beyond the features", ours["peak_MB"], unit=" MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES)
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.dim)
    found: dict[str, list[dict]] = {side: [] for side in args.sides}
    for _ in range(args.rounds):
        for side in args.sides:
            found[side].append(measure(side, args.dim))
    medians = {s: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for s, runs in found.items()}
    bare = medians.get("product", {}).get("cpu_s", float("nan"))
    print(f"{'side':<9}{'CPU s':>8}{'beyond product':>16}{'wall s':>8}{'peak MB':>9}{'mAP':>10}{'rank-1':>9}")
    for side, m in medians.items():
        m["cpu_beyond_product_s"] = m["cpu_s"] - bare
        scores = "".join(f"{m[key]:>{w}.4%}" for key, w in (("mAP", 10), ("rank-1", 9)) if key in m)
        print(f"{side:<9}{m['cpu_s']:>8.2f}{m['cpu_s'] - bare:>16.2f}{m['wall_s']:>8.2f}{m['peak_MB']:>9.0f}{scores}")
    where = (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, torch {torch.__version__}"
    )
    print(where)
    if args.json:
        with open(args.json, "w") as file:
            size = {"queries": QUERIES, "gallery": GALLERY, "dim": args.dim, "rounds": args.rounds}
            json.dump({"where": where, **size, "median": medians, "runs": found}, file, indent=1)
    return None


if __name__ == "__main__":
    main()
