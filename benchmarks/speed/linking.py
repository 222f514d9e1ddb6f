"""Linking many tracklets: seconds and peak memory of `stmga.link`, beside its floor, the products of all pairs.

    python -m benchmarks.speed.linking --json benchmarks/results/linking_speed.json

Made-up vectors: persons with a number of tracklets each, spread over cameras and over a day, so that tracklets of one
camera overlap in time. Each side runs in a process of its own. Memory is the peak (ru_maxrss) above what the process
had with the vectors. The floor multiplies every pair of vectors once, by the library's own routine, and keeps nothing.
"""

import argparse
import json
import multiprocessing
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch

from benchmarks.turns import where
from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

EACH, CAMERAS, DIM, DAY = 10, 20, 256, 86_400.0


def made_up(n: int, noise: float = 1.25, seed: int = 0) -> Embeddings:
    """``n`` tracklets: unit vectors around persons, cosines of a person about 0.4 on average, with times."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((n // EACH + 1, DIM), dtype=np.float32)
    x = noise * random.standard_normal((n, DIM), dtype=np.float32)
    x += centres[np.arange(n) // EACH]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cameras, times = random.integers(0, CAMERAS, n), random.uniform(0, DAY, n)
    items = [
        {"tracklet": f"t{i}", "camera": int(c), "time": float(t), "end_time": float(t) + 10}
        for i, (c, t) in enumerate(zip(cameras, times, strict=True))
    ]
    points = tuple(
        Threshold(false_match_rate=rate, similarity=similarity, true_match_rate=0.5)
        for rate, similarity in ((1e-2, 0.25), (1e-3, 0.3), (1e-4, 0.35))
    )
    calibration = Calibration(
        thresholds=points, lower=0.1, impostor_pairs=10**5, genuine_pairs=10**3, persons=100, digest="1f0c"
    )
    return Embeddings(torch.from_numpy(x), items, digest="1f0c", calibration=calibration)


def floor(embeddings: Embeddings) -> dict[str, float]:
    """Every pair of vectors multiplied once, in blocks."""
    from stmga.metrics.similarity import product

    x = embeddings.vectors
    block = 512
    out = torch.empty(block * len(x))
    for start in range(0, len(x), block):
        rows, rest = x[start : start + block], x[start:]
        product(rows, rest, out=out[: len(rows) * len(rest)].view(len(rows), len(rest)))
    return {}


def linked(embeddings: Embeddings) -> dict[str, float]:
    """`stmga.link` with its defaults."""
    from stmga.people import link

    people = link(embeddings)
    persons = [i // EACH for i in range(len(embeddings))]
    pairs = {(row.identity, person) for row, person in zip(people, persons, strict=True)}
    return {"persons": len(people), "true persons": persons[-1] + 1, "persons in pieces or mixed": len(pairs)}


SIDES = {"floor": floor, "link": linked}


def measure(side: str, n: int, seed: int, pipe) -> None:
    embeddings = made_up(n, seed=seed)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = SIDES[side](embeddings)
    seconds = time.perf_counter() - start
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024**2
    pipe.send({"seconds": seconds, "peak GiB": peak, **found})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=int, default=100_000, help="default: 100,000")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    found = {}
    for side in SIDES:
        ours, theirs = context.Pipe()
        process = context.Process(target=measure, args=(side, args.tracklets, args.seed, theirs))
        process.start()
        theirs.close()
        try:
            found[side] = ours.recv()
        except EOFError:
            sys.exit(f"the process of {side} ended without a result")
        process.join()
    rows = [[side, f"{one['seconds']:.1f}", f"{one['peak GiB']:.2f}"] for side, one in found.items()]
    print(text_table(("side", "seconds", "peak GiB"), rows))
    print(f"link / floor {found['link']['seconds'] / found['floor']['seconds']:.2f}; {found['link']}")
    if args.json:
        result = {"where": where(), "tracklets": args.tracklets, "seed": args.seed, "sides": found}
        atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
