"""Training from scratch on rendered walkers, as a user would type it: `stmga walkers`, `stmga train --recipe cpu`.

    python -m benchmarks.accuracy.walkers_training
    python -m benchmarks.accuracy.walkers_training --difficulty hard --seed 1 --json out.json

The bar: mAP of at least 90 on persons that were not trained on, within ten minutes of training on a CPU, every term of
the loss lower in the last epoch than in the first. Figures on walkers say nothing about figures on people.
"""

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import stmga


def run(*arguments: object) -> float:
    """Run a command of stmga, its output shown as it comes; its wall-clock seconds."""
    print("\n$ stmga", *arguments, flush=True)
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "stmga", *map(str, arguments)], check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--difficulty", default="medium", choices=("easy", "medium", "hard"))
    parser.add_argument("--seed", type=int, default=0, help="of weights, sampling and augmentation; the walkers stay")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        data, out = Path(folder, "walkers"), Path(folder, "run")
        rendering = run("walkers", data, "--difficulty", args.difficulty, "-q")
        manifest = data / "manifest.jsonl"
        training = run("train", "--data", manifest, "--recipe", "cpu", "--seed", args.seed, "-o", out, "-q")
        log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    first, last = log[0]["loss"], log[-1]["loss"]
    rising = [name for name in last if last[name] >= first[name]]
    scores = {name: 100 * value for name, value in log[-1]["validation"].items()}
    where = (
        f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}, stmga {stmga.__version__}"
    )
    print(f"\n{where}\nwalkers {args.difficulty}, training seed {args.seed}: rendering {rendering:.0f} s, ", end="")
    print(f"training with validation {training:.0f} s (bar 600), mAP {scores['mAP']:.1f} (bar 90), ", end="")
    print(f"rank-1 {scores['rank-1']:.1f}; terms that did not fall: {', '.join(rising) or 'none'}")
    if args.json:
        result = {
            "where": where, "difficulty": args.difficulty, "seed": args.seed, "rendering_s": rendering,
            "training_s": training, "scores": scores, "first": first, "last": last, "log": log,
        }  # fmt: skip
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
