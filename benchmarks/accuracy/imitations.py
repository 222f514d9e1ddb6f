"""The gain of each imitation of video on still crops: a stage on clips with none, each alone, and all four.

    python -m benchmarks.accuracy.imitations DATA --after runs/heads -o runs/imitations

DATA holds market1501-867/, cuhk03/ and mars8-dev/, unpacked; --after is the second stage (docs/train/trials.md). Each
arm is the command that it prints, 150 batches of 16 identities x 2 clips x 4 frames, same start and same batches.
Finished runs are not repeated, so an interrupted benchmark resumes. The figures are of mars8-dev, not of MARS.
"""

import argparse
import json
from pathlib import Path

from benchmarks.accuracy.method_gain import FIGURES, scores
from benchmarks.turns import where

CLIPS = ["--recipe", "clips", "--model", "stmga_resnet18_c4", "--clip-length", "4", "--epochs", "6", "--lr", "1.5e-4"]
SETTINGS = [
    "erase=0.4", "steps=25", "eval_every=0", 'frozen=["conv1","bn1","layer1"]',
    "attention_lr=15", "weight_regions=2", "lambda_pce=0.3",
]  # fmt: skip
STRENGTHS = {"drift": 0.08, "light": 0.2, "blur": 1.0, "passing": 0.3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--after", type=Path, required=True, help="the run of the second stage")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    sets = [args.data / name / "index.jsonl" for name in ("market1501-867", "cuhk03", "mars8-dev")]
    data = ["--data", *sets[:2], "--test", sets[2], "--after", args.after]
    rows = {}
    for arm in ("none", *STRENGTHS, "all"):
        strengths = [f"{name}={value if arm in (name, 'all') else 0}" for name, value in STRENGTHS.items()]
        rows[arm] = scores([*data, *CLIPS], [*SETTINGS, *strengths], args.out / arm)
        print(arm, rows[arm], flush=True)
    print(f"\n{'imitated':<10}" + "".join(f"{name:>10}" for name in FIGURES))
    for arm, row in rows.items():
        print(f"{arm:<10}" + "".join(f"{row[name]:>10.1f}" for name in FIGURES))
    if args.json:
        args.json.write_text(
            json.dumps({"where": where(), "data": "mars8-dev, not MARS", "rows": rows}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
