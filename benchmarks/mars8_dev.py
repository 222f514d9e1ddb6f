"""Real tracklets end to end: `stmga embed`, `stmga search`, then mAP and rank-k by the protocol of mars8-dev.

    python benchmarks/mars8_dev.py ../shared/data --backbone resnet18-imagenet-to-layer3.safetensors

mars8-dev holds 3,336 real tracklets of 8 frames at half resolution with 776 queries. Its numbers compare networks with
each other on this set and are not MARS numbers. The two commands run as a user would type them, each in a process of
its own; what they print (frames per second, peak memory) is shown as it comes.
"""

import argparse
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from stmga import Embeddings
from stmga.metrics.ranking import average_precision, match_places


def stmga(*arguments: object) -> None:
    command = [sys.executable, "-m", "stmga", *map(str, arguments)]
    print("\n$ stmga", *arguments, flush=True)
    subprocess.run(command, check=True)


def score(found: Embeddings, protocol: list[dict]) -> dict[str, float]:
    """Gallery = gallery tracklets and the other queries; matches of the same or of an undecided camera are ignored."""
    at = {name: i for i, name in enumerate(found.ids)}
    queries = [p["query"] for p in protocol]
    gallery = [item["tracklet"] for item in found.items if item["role"] == "gallery"] + queries
    place = {name: i for i, name in enumerate(gallery)}
    vectors = found.vectors.numpy()
    matrix = vectors[[at[name] for name in gallery]]
    precisions, firsts = [], []
    for p in protocol:
        relevant, ignored = np.zeros(len(gallery), bool), np.zeros(len(gallery), bool)
        relevant[[place[t] for t in p["positives"]]] = True
        ignored[[place[t] for t in p["ignore"]]] = True
        for other in protocol:  # the other queries of this person, whose cameras are all known
            if other["person"] == p["person"]:
                (ignored if other["camera"] == p["camera"] else relevant)[place[other["query"]]] = True
        places = match_places(matrix @ vectors[at[p["query"]]], relevant, ignored)
        if len(places):
            precisions.append(average_precision(places))
            firsts.append(places[0])
    ranks = {f"rank-{k}": float(np.mean(np.array(firsts) < k)) for k in (1, 5, 10)}
    return {"queries": len(firsts), "gallery": len(gallery), "mAP": float(np.mean(precisions)), **ranks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mars8-dev.zip (and score.py, to score a second time)")
    parser.add_argument("--model", default="stmga_resnet18_c4", help="as for `stmga embed`")
    parser.add_argument("--backbone", help="trunk weights in DATA, for a network without trained weights")
    parser.add_argument("--workers", type=int, default=0)
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        crops, out = Path(folder, "mars8"), Path(folder, "all.safetensors")
        zipfile.ZipFile(args.data / "mars8-dev.zip").extractall(crops)
        trunk = ["--backbone-weights", args.data / args.backbone] if args.backbone else []
        model = ["--model", args.model, *trunk, "--workers", args.workers]
        stmga("embed", crops / "index.jsonl", "-o", out, *model)
        stmga("search", out, out, "--where", "role=query", "--top", 10, "-o", Path(folder, "matches.jsonl"))
        matches = Path(folder, "matches.jsonl").read_text().splitlines()
        print(f"matches.jsonl holds {len(matches)} lines")
        found = Embeddings.load(out)
        protocol = [json.loads(line) for line in (crops / "protocol.jsonl").read_text().splitlines()]
        print("\nmars8-dev (not MARS):", json.dumps(score(found, protocol)))
        if (args.data / "score.py").is_file():
            np.savez(Path(folder, "feats.npz"), names=np.array(found.ids), feats=found.vectors.numpy())
            second = [sys.executable, args.data / "score.py", args.data / "mars8-dev.zip", Path(folder, "feats.npz")]
            print("the data's own score.py:", flush=True)
            subprocess.run(second, check=True)


if __name__ == "__main__":
    main()
