"""The cost of k-reciprocal re-ranking at the size of MARS: 1,980 + 11,310 2048-dimensional vectors, all pairs.

    python -m benchmarks.speed.reranking --json benchmarks/results/reranking.json
    python -m benchmarks.speed.reranking --skip-dense

Features as in evaluator.py, but with more noise. Each side runs in a child process; CPU seconds (`time.process_time`)
include all distances, memory is the peak above what the process had with the features loaded. Sides:

- stmga: `stmga.metrics.rerank`, block by block
- dense: the definition of Zhong et al. 2017 with whole float64 matrices, written here from the paper's formulas

The final distances of both are compared: the greatest difference, for how many queries the first 100 and the ranks of
all correct matches are the same (entries that float32 cannot separate may swap ranks), and the scores.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.rows import Row
from benchmarks.speed.evaluator import CAMERAS, GALLERY, QUERIES, ROOT, features, measured

NOISE = 5.0  # of the features: hard enough that re-ranking is seen to help


def library(x, y, out):
    from stmga.metrics import rerank

    start = 0
    for block in rerank(torch.from_numpy(x), torch.from_numpy(y)):
        if out is not None:
            out[start : start + len(block)] = block.numpy()
        start += len(block)
    return {}


def dense(x, y, out, k1=20, k2=6, weight=0.3):
    """Everything as whole (n, n) matrices."""
    z, q = np.concatenate([x, y]).astype(np.float64), len(x)
    n, lengths = len(z), (z**2).sum(1)
    d = np.maximum(lengths[:, None] + lengths[None] - 2 * (z @ z.T), 0)
    np.fill_diagonal(d, 0)
    d /= d.max(axis=1, keepdims=True)
    order = np.argsort(d, axis=1, kind="stable")

    def reciprocal(i, k):
        near = order[i, : k + 1]
        return near[(order[near, : k + 1] == i).any(axis=1)]

    half = [reciprocal(i, int(np.around(k1 / 2))) for i in range(n)]
    v = np.zeros_like(d)
    for i in range(n):
        first = reciprocal(i, k1)
        near = [half[j] for j in first if len(np.intersect1d(half[j], first)) > 2 / 3 * len(half[j])]
        members = np.unique(np.concatenate([first, *near]))
        closeness = np.exp(-d[i, members])
        v[i, members] = closeness / closeness.sum()
    v = np.stack([v[order[i, :k2]].mean(axis=0) for i in range(n)])
    users = [np.flatnonzero(column) for column in v.T]
    for i in range(q):
        shared = np.zeros(n)
        for c in np.flatnonzero(v[i]):
            shared[users[c]] += np.minimum(v[i, c], v[users[c], c])
        result = (1 - weight) * (1 - shared / (2 - shared)) + weight * d[i]
        if out is not None:
            out[i] = result[q:]
    return {}


def child(side: str, dim: int, file: str) -> None:
    import stmga.metrics  # noqa: F401 - loaded for all sides: what is measured is the work

    (x, *_), (y, *_) = features(dim, NOISE)
    run = {"stmga": library, "dense": dense}[side]
    run(x[:40], y[:200], None)  # threads, caches, first calls
    print(json.dumps(measured(run, x, y, np.lib.format.open_memmap(file, "w+", np.float32, (len(x), len(y))))))


def measure(side: str, dim: int, file: str) -> dict:
    command = [sys.executable, "-m", "benchmarks.speed.reranking", "--child", side, "--dim", str(dim), "--file", file]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)


def scores(distance: np.ndarray, dim: int) -> dict:
    from stmga.metrics import rank_scores

    (_, person, camera), (_, persons, cameras) = features(dim, NOISE)
    known = [[p or None for p in side.tolist()] for side in (person, persons)]
    seen = dict(query_cameras=camera, gallery_cameras=cameras)
    found = rank_scores((-distance[i : i + 256] for i in range(0, len(distance), 256)), *known, **seen)
    return {"mAP": found.mAP, "rank-1": found.rank(1), "mINP": found.mINP}


def compare(ours: np.ndarray, theirs: np.ndarray, dim: int, first: int = 100) -> dict:
    """How far the distances differ, and the ranks: of the first 100 entries, and of every correct match."""
    (_, person, _), (_, persons, _) = features(dim, NOISE)
    order, right = 0, 0
    for i in range(len(ours)):
        one, other = (np.argsort(side[i], kind="stable") for side in (ours, theirs))
        order += bool((one[:first] == other[:first]).all())
        right += bool(((persons[one] == person[i]) == (persons[other] == person[i])).all())
    difference = float(np.abs(ours - theirs).max())
    return {"greatest_difference": difference, "queries_same_first_100": order, "queries_same_ranks_of_right": right}


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    ours = found["stmga"]
    yield Row("re-ranking at the size of MARS: CPU", ours["cpu_s"], unit=" s")
    yield Row("the same: memory beyond the features", ours["peak_MB"], unit=" MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of stmga; the dense form runs once")
    parser.add_argument("--dim", type=int, default=2048)
    parser.add_argument("--skip-dense", action="store_true")
    parser.add_argument("--json")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--file", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        return child(args.child, args.dim, args.file)
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}"
    where = f"{platform.machine()}, {os.cpu_count()} cores, {versions}"
    result: dict = {"where": where, "queries": QUERIES, "gallery": GALLERY, "dim": args.dim, "cameras": CAMERAS}
    with TemporaryDirectory() as folder:
        files = {side: str(Path(folder, f"{side}.npy")) for side in ("stmga", "dense")}
        runs = [measure("stmga", args.dim, files["stmga"]) for _ in range(args.rounds)]
        result["stmga"] = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        result["stmga"] |= {"runs": runs, **scores(np.load(files["stmga"], mmap_mode="r"), args.dim)}
        if not args.skip_dense:
            result["dense"] = measure("dense", args.dim, files["dense"])
            result["dense"] |= scores(np.load(files["dense"], mmap_mode="r"), args.dim)
            result["comparison"] = compare(
                *(np.load(files[side], mmap_mode="r") for side in ("stmga", "dense")), args.dim
            )
    print(f"{'side':<7}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'mAP':>12}{'rank-1':>10}{'mINP':>10}")
    for side in ("stmga", "dense"):
        if m := result.get(side):
            figures = f"{m['mAP']:>12.4%}{m['rank-1']:>10.4%}{m['mINP']:>10.4%}"
            print(f"{side:<7}{m['cpu_s']:>8.2f}{m['wall_s']:>8.2f}{m['peak_MB']:>9.0f}{figures}")
    print(json.dumps(result.get("comparison", {})), where, sep="\n")
    if args.json:
        with open(args.json, "w") as file:
            json.dump(result, file, indent=1)
    return None


if __name__ == "__main__":
    main()
