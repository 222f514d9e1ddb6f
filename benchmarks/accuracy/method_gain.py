"""The gain of the method over the baseline on still crops: stages two and three, same start and batches, 3 seeds.

    python -m benchmarks.accuracy.method_gain DATA --after runs/crops -o runs/gain

DATA holds market1501-867/, cuhk03/ and mars8-dev/, unpacked; --after is the first stage (docs/train/trials.md). Each
arm is the command that it prints: 900 batches of 16 identities x 4 crops at 128 x 64, and after them 600 at 192 x 96.
Finished runs are not repeated, so an interrupted benchmark resumes. The figures are of mars8-dev, not of MARS;
45 minutes a seed on two cores.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.turns import where

FIGURES = ("mAP", "rank-1", "rank-5", "rank-10")
COMMON = ["clips=4", "passing=0.2", "erase=0.4", "steps=25", "eval_every=0"]
STAGES = {
    "128 x 64": (["--size", 128, 64, "--epochs", 36], [*COMMON, 'frozen=["conv1","bn1","layer1"]']),
    "192 x 96": (["--size", 192, 96, "--epochs", 24], [*COMMON, "trunk_lr=0.6"]),
}
# The baseline keeps the triplet loss of its first stage. The triplet loss of the whole network did not improve it
# (seed 0, 128 x 64). At 192 x 96 this was not tried (docs/train/trials.md).
ARMS = {
    "baseline": ["--model", "stmga_resnet18_c4_baseline", "--set", "distance=euclidean", "--set", "triplet_on=pre_bn"],
    "whole": ["--model", "stmga_resnet18_c4"],
}


def scores(words: list, settings: list[str], run: Path) -> dict[str, float]:
    """In %, of `stmga train` with these words; of the last line of its log, where the run is finished already."""
    options = [word for setting in settings for word in ("--set", setting)]
    command = list(map(str, [*words, *options, "-q", "-o", run]))
    print("\n$ stmga train", *command, flush=True)
    subprocess.run([sys.executable, "-m", "stmga", "train", *command], check=True)
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])
    return {name: 100 * last["validation"][name] for name in FIGURES}


def show(size: str, rows: list[dict]) -> None:
    print(f"\n{size:<10}" + "".join(f"{name:>26}" for name in FIGURES))
    for row in rows:
        cells = (f"{row['baseline'][n]:.1f} -> {row['whole'][n]:.1f}" for n in FIGURES)
        print(f"seed {row['seed']:<5}" + "".join(f"{text:>26}" for text in cells))
    gains = {n: [row["whole"][n] - row["baseline"][n] for row in rows] for n in FIGURES}
    cells = (f"{statistics.mean(g):+.2f} ({min(g):+.1f} to {max(g):+.1f})" for g in gains.values())
    print(f"{'gain':<10}" + "".join(f"{text:>26}" for text in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--after", type=Path, required=True, help="the run of the first stage")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sets = [args.data / name / "index.jsonl" for name in ("market1501-867", "cuhk03", "mars8-dev")]
    data = ["--data", *sets[:2], "--test", sets[2], "--recipe", "clips", "--clip-length", 1]
    found: dict[str, list] = {size: [] for size in STAGES}
    for seed in range(args.seeds):
        after = dict.fromkeys(ARMS, args.after)
        for size, (words, settings) in STAGES.items():
            row: dict = {"seed": seed}
            for arm, own in ARMS.items():
                run = args.out / f"{arm}-{size.replace(' ', '')}-{seed}"
                row[arm] = scores([*data, *words, *own, "--after", after[arm], "--seed", seed], settings, run)
                after[arm] = run
            found[size].append(row)
    for size, rows in found.items():
        show(size, rows)
    if args.json:
        result = {"where": where(), "data": "mars8-dev, not MARS", "rows": found}
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
