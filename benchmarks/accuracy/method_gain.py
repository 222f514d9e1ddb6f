"""The gain of the method over the baseline on still crops: same start and batches, 3 seeds.

    python -m benchmarks.accuracy.method_gain DATA --after runs/crops -o runs/gain
    python -m benchmarks.accuracy.method_gain DATA --after runs/crops -o runs/gain --sizes equal --cuhk03 cuhk03

DATA is what `benchmarks.tools.research_data` unpacks; --after is the first stage (docs/train/trials.md). Both arms
train on after it, on batches of the same 16 identities x 4 crops, and each arm is the command that it prints. --sizes
best gives each arm the frames it is best with: 1,500 batches at 128 x 64 for the baseline, 600 at 192 x 96 and 900 at
256 x 128 for the whole network. --sizes equal gives both 900 at 128 x 64 and 600 at 192 x 96. Finished runs are not
repeated, so an interrupted benchmark resumes. The figures are of mars8-dev, not of MARS.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from benchmarks.turns import where

FIGURES = ("mAP", "rank-1", "rank-5", "rank-10")
# The baseline keeps the triplet loss of its first stage. The triplet loss of the whole network did not improve it
# (seed 0, 128 x 64). At larger sizes this was not tried (docs/train/trials.md).
ARMS = {
    "baseline": ["--model", "stmga_resnet18_c4_baseline", "--set", "distance=euclidean", "--set", "triplet_on=pre_bn"],
    "whole": ["--model", "stmga_resnet18_c4"],
}
COMMON = ["clips=4", "passing=0.2", "erase=0.4", "steps=25", "eval_every=0"]
FROZEN = 'frozen=["conv1","bn1","layer1"]'


class Stage(NamedTuple):
    """``epochs`` of 25 batches; ``sizes`` of the frames of each arm, in the order of ARMS."""

    name: str
    epochs: int
    settings: list[str]
    sizes: tuple[tuple[int, int], tuple[int, int]]
    scored: bool = True


BEST = [FROZEN, "trunk_lr=0.6", "soften=0.2", "average=0.999"]
STAGES = {
    "best": [
        Stage("600 batches", 24, BEST, ((128, 64), (192, 96)), scored=False),
        Stage("900 more", 36, BEST, ((128, 64), (256, 128))),
    ],
    "equal": [
        Stage("128 x 64", 36, [FROZEN], ((128, 64), (128, 64))),
        Stage("192 x 96", 24, ["trunk_lr=0.6"], ((192, 96), (192, 96))),
    ],
}


def train(words: list, settings: list[str], run: Path) -> dict:
    """The last line of the log of `stmga train` with these words; a finished run is not repeated."""
    options = [word for setting in settings for word in ("--set", setting)]
    command = list(map(str, [*words, *options, "-q", "-o", run]))
    print("\n$ stmga train", *command, flush=True)
    subprocess.run([sys.executable, "-m", "stmga", "train", *command], check=True)
    return json.loads((run / "log.jsonl").read_text().splitlines()[-1])


def scores(words: list, settings: list[str], run: Path) -> dict[str, float]:
    """In %, of :func:`train` with these words, which must include --test."""
    validation = train(words, settings, run)["validation"]
    return {name: 100 * validation[name] for name in FIGURES}


def show(stage: str, rows: list[dict]) -> None:
    print(f"\n{stage:<15}" + "".join(f"{name:>26}" for name in FIGURES))
    for row in rows:
        cells = (f"{row['baseline'][n]:.1f} -> {row['whole'][n]:.1f}" for n in FIGURES)
        print(f"seed {row['seed']:<10}" + "".join(f"{text:>26}" for text in cells))
    gains = {n: [row["whole"][n] - row["baseline"][n] for row in rows] for n in FIGURES}
    cells = (f"{statistics.mean(g):+.2f} ({min(g):+.1f} to {max(g):+.1f})" for g in gains.values())
    print(f"{'gain':<15}" + "".join(f"{text:>26}" for text in cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--after", type=Path, required=True, help="the run of the first stage")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--sizes", choices=STAGES, default="best", help="of the frames (default: best)")
    parser.add_argument("--cuhk03", default="cuhk03-1367", help="its folder in DATA (default: cuhk03-1367)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N")
    parser.add_argument("--json", type=Path, help="add the table to this file")
    args = parser.parse_args()
    sets = [args.data / name / "index.jsonl" for name in ("market1501-867", args.cuhk03, "mars8-dev")]
    words = ["--data", *sets[:2], "--keep-frames", "--recipe", "clips", "--clip-length", 1]
    words += ["--precision", args.precision]
    stages = STAGES[args.sizes]
    found: dict[str, list] = {stage.name: [] for stage in stages if stage.scored}
    for seed in args.seeds:
        after = dict.fromkeys(ARMS, args.after)
        for stage in stages:
            row: dict = {"seed": seed}
            for (arm, own), size in zip(ARMS.items(), stage.sizes, strict=True):
                run = args.out / f"{arm}-{args.sizes}-{stage.name.replace(' ', '')}-{seed}"
                options = ["--epochs", stage.epochs, "--size", *size, *own, "--after", after[arm], "--seed", seed]
                settings = [*COMMON, *stage.settings]
                if stage.scored:
                    row[arm] = scores([*words, *options, "--test", sets[2]], settings, run)
                else:
                    train([*words, *options], settings, run)
                after[arm] = run
            if stage.scored:
                found[stage.name].append(row)
    for name, rows in found.items():
        show(name, rows)
    if args.json:
        known = json.loads(args.json.read_text()) if args.json.exists() else {}
        known[args.sizes] = {"where": where(), "data": "mars8-dev, not MARS", "rows": found}
        args.json.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
