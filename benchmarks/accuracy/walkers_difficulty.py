"""How hard the rendered walkers are for colours alone, by difficulty: nothing is trained.

    python -m benchmarks.accuracy.walkers_difficulty --json difficulty.json --picture docs/walkers.png

Each tracklet becomes one vector without any learning, and the test of `stmga.data.walkers_benchmark` is
scored by its own protocol; the mean of each camera is subtracted, to remove its light:

- chance: random vectors
- mean: the mean colour of the upper and of the lower half of the crop, over the frames
- histogram: shares of 4 x 4 x 4 colours in 6 stripes of the middle of the crop, square roots, over the frames
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from stmga.data import DIFFICULTIES, Difficulty, walkers_benchmark
from stmga.metrics import rank_scores

ALONE = {
    "occlusion only": Difficulty(occlusion=DIFFICULTIES["hard"].occlusion, shift=0.0, similar_clothes=0.0),
    "shift only": Difficulty(occlusion=0.0, shift=DIFFICULTIES["hard"].shift, similar_clothes=0.0),
    "similar clothes only": Difficulty(occlusion=0.0, shift=0.0, similar_clothes=DIFFICULTIES["hard"].similar_clothes),
}


def mean_colour(frames):
    halves = np.array_split(frames.astype(np.float32), 2, axis=1)
    return np.concatenate([half.mean(axis=(0, 1, 2)) for half in halves])


def histogram(frames, stripes=6):
    width = frames.shape[2]
    middle = frames[:, :, width // 4 : width - width // 4]
    bins = (middle // 64).astype(int) @ np.array([16, 4, 1])
    parts = [np.bincount(part.ravel(), minlength=64) / part.size for part in np.array_split(bins, stripes, axis=1)]
    return np.sqrt(np.concatenate(parts))


def similarities(tracklets, features):
    """Minus the distances."""
    x = np.stack([features(t.frames) for t in tracklets])
    cameras = np.array([t.camera for t in tracklets])
    for camera in set(cameras):
        x[cameras == camera] -= x[cameras == camera].mean(0)
    squares = (x**2).sum(1)
    return -np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * x @ x.T, 0))


def scores(benchmark, features):
    gallery = benchmark.query + benchmark.gallery  # the other queries are in the gallery
    similarity = similarities(gallery, features)[: len(benchmark.query)]
    sides = {"query": benchmark.query, "gallery": gallery}
    labels = {
        f"{side}_{what}s": [getattr(t, what) for t in part] for side, part in sides.items() for what in ("camera", "id")
    }
    persons = [[t.person for t in part] for part in sides.values()]
    return rank_scores(similarity, *persons, **labels)


def measure(difficulty, args):
    rows = []
    for seed in args.seeds:
        random, start = np.random.default_rng(seed), time.process_time()
        made = walkers_benchmark(0, args.persons, size=tuple(args.size), seed=seed, difficulty=difficulty)
        frames = sum(map(len, made.query + made.gallery))
        rows.append({
            "ms_per_frame": (time.process_time() - start) / frames * 1000,
            "chance": scores(made, lambda frames, r=random: r.normal(size=8)).mAP,
            "mean": scores(made, mean_colour).mAP,
            "histogram": scores(made, histogram).mAP,
            "histogram_rank1": scores(made, histogram).rank(1),
        })  # fmt: skip
    return {key: [round(row[key], 4) for row in rows] for key in rows[0]}


def sheet(persons=4, size=(96, 48), seed=0):
    """The three difficulties side by side: a person a row, two frames of each of three cameras."""
    columns = []
    for name in DIFFICULTIES:
        made = walkers_benchmark(0, persons, tracklets=1, size=size, seed=seed, difficulty=name)
        frames = np.stack([t.frames[[2, 5]] for t in made.query]).reshape(persons, 6, *size, 3)
        columns.append(frames.swapaxes(1, 2).reshape(persons * size[0], 6 * size[1], 3))
    height, width = columns[0].shape[:2]
    picture = Image.new("RGB", (len(columns) * (width + 12) - 12, height + 18), "white")
    draw = ImageDraw.Draw(picture)
    for i, (name, column) in enumerate(zip(DIFFICULTIES, columns, strict=True)):
        values = DIFFICULTIES[name]
        words = f"{name}: occlusion {values.occlusion}, shift {values.shift}, similar clothes {values.similar_clothes}"
        draw.text((i * (width + 12), 3), words, fill="black")
        picture.paste(Image.fromarray(column), (i * (width + 12), 18))
    return picture


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--persons", type=int, default=50)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--size", type=int, nargs=2, default=(64, 32))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--picture", type=Path)
    args = parser.parse_args()
    if args.picture:
        sheet().quantize(256).save(args.picture, optimize=True)  # three times smaller
    found = {}
    for name, difficulty in (DIFFICULTIES | ALONE).items():
        found[name] = measure(difficulty, args)
        shown = "  ".join(f"{key} {statistics.mean(values):.3f}" for key, values in found[name].items())
        print(f"{name:22s} {shown}", flush=True)
    if args.json:
        words = {"persons": args.persons, "seeds": args.seeds, "size": list(args.size)}
        args.json.write_text(json.dumps({"arguments": words, "results": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
