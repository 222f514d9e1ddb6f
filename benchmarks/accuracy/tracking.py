"""How well the tracks of a detector and a tracker fit true ones, camera by camera, by TrackEval.

    stmga walkers scenes --scenes
    stmga track scenes/cam*.mp4 -o tracks --detector motion
    python -m benchmarks.accuracy.tracking scenes tracks --json benchmarks/results/tracking-scenes.json

Both folders have MOT files `<camera>.txt`. The figures are HOTA and its parts, IDF1 and CLEAR's counts, computed by the
library `trackeval`: pip install trackeval.
"""

import argparse
import contextlib
import io
import json
from collections import defaultdict
from pathlib import Path

import numpy as np

Rows = dict[int, list[tuple[float, ...]]]  # by frame: id, x, y, w, h


def read(file: Path) -> Rows:
    rows: Rows = defaultdict(list)
    for line in file.read_text().splitlines():
        frame, *values = (float(cell) for cell in line.split(",")[:6])
        rows[int(frame)].append(tuple(values))
    return rows


def iou(a: list, b: list) -> np.ndarray:
    """x, y, w, h of n and of m boxes -> (n, m)."""
    a, b = (np.array(boxes, float).reshape(-1, 5)[:, 1:] for boxes in (a, b))
    ends = np.minimum(a[:, None, :2] + a[:, None, 2:], b[None, :, :2] + b[None, :, 2:])
    inter = (ends - np.maximum(a[:, None, :2], b[None, :, :2])).clip(0).prod(2)
    return inter / (a[:, 2:].prod(1)[:, None] + b[:, 2:].prod(1)[None] - inter)


def sequence(truth: Rows, found: Rows) -> dict:
    """What TrackEval's metrics take."""
    data: dict = {"gt_ids": [], "tracker_ids": [], "similarity_scores": [], "num_timesteps": max([*truth, *found])}
    ids = [sorted({row[0] for rows in side.values() for row in rows}) for side in (truth, found)]
    numbers = [{id_: i for i, id_ in enumerate(each)} for each in ids]
    for frame in range(1, data["num_timesteps"] + 1):
        for name, side, number in zip(("gt_ids", "tracker_ids"), (truth, found), numbers, strict=True):
            data[name].append(np.array([number[row[0]] for row in side[frame]], int))
        data["similarity_scores"].append(iou(truth[frame], found[frame]))
    for name, side, number in zip(("gt", "tracker"), (truth, found), numbers, strict=True):
        data[f"num_{name}_ids"], data[f"num_{name}_dets"] = len(number), sum(map(len, side.values()))
    return data


def score(truth: Path, found: Path) -> dict[str, float]:
    import trackeval

    data = sequence(read(truth), read(found))
    with contextlib.redirect_stdout(io.StringIO()):
        hota, identity, clear = (
            metric().eval_sequence(data)
            for metric in (trackeval.metrics.HOTA, trackeval.metrics.Identity, trackeval.metrics.CLEAR)
        )
    figures = {name: float(np.mean(hota[name])) for name in ("HOTA", "DetA", "AssA")}
    figures |= {"IDF1": identity["IDF1"], "recall": clear["CLR_Re"], "precision": clear["CLR_Pr"]}
    figures |= {"switches": clear["IDSW"], "people": data["num_gt_ids"], "tracks": data["num_tracker_ids"]}
    return {name: round(float(value), 4) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("truth", type=Path, help="folder of true <camera>.txt")
    parser.add_argument("tracks", type=Path, help="folder of `stmga track`")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result = {file.stem: score(file, args.tracks / file.name) for file in sorted(args.truth.glob("*.txt"))}
    for camera, figures in result.items():
        print(camera, " ".join(f"{name} {value:g}" for name, value in figures.items()))
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
