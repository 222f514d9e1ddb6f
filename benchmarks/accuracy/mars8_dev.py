"""Real tracklets end to end: `stmga embed`, then `stmga eval`: mAP and rank-k by the protocol of mars8-dev.

    python -m benchmarks.accuracy.mars8_dev ../shared/data --backbone resnet18-imagenet-to-layer3.safetensors

mars8-dev holds 3,336 real tracklets of 8 frames at half resolution with 776 queries. Its numbers compare networks with
each other on this set and are not MARS numbers. The two commands run as a user would type them, each in a process of
its own; what they print (frames per second, peak memory) is shown as it comes.
"""

import argparse
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stmga import Embeddings


def stmga(*arguments: object) -> None:
    command = [sys.executable, "-m", "stmga", *map(str, arguments)]
    print("\n$ stmga", *arguments, flush=True)
    subprocess.run(command, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mars8-dev.zip (and score.py, to score a second time)")
    parser.add_argument("--model", default="stmga_resnet18_c4", help="as for `stmga embed`")
    parser.add_argument("--backbone", help="trunk weights in DATA, for a network without trained weights")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--out", help="keep the result with its protocol, .json")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        crops, out = Path(folder, "mars8"), Path(folder, "all.safetensors")
        zipfile.ZipFile(args.data / "mars8-dev.zip").extractall(crops)
        trunk = ["--backbone-weights", args.data / args.backbone] if args.backbone else []
        model = ["--model", args.model, *trunk, "--workers", args.workers]
        stmga("embed", crops / "index.jsonl", "-o", out, *model)
        stmga("eval", out, "--title", "mars8-dev (not MARS)", *(["-o", args.out] if args.out else []))
        if (args.data / "score.py").is_file():
            found = Embeddings.load(out)
            np.savez(Path(folder, "feats.npz"), names=np.array(found.ids), feats=found.vectors.numpy())
            second = [sys.executable, args.data / "score.py", args.data / "mars8-dev.zip", Path(folder, "feats.npz")]
            print("\nthe data's own score.py:", flush=True)
            subprocess.run(second, check=True)


if __name__ == "__main__":
    main()
