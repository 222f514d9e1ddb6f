"""The method on real video: rows of Table 8 on half of the identities of mars8-dev, tested on the other half.

    python -m benchmarks.accuracy.method_on_video ../shared/data -o runs/method
    python -m benchmarks.accuracy.method_on_video ../shared/data -o runs/method --rows baseline:3 t-mga:1 --threads 1

mars8-dev holds real tracklets of 8 frames at half resolution. Every other identity, in order of their numbers, is for
training. The rest is the test, and its tracklets keep their roles. The network is stmga_resnet18_c4 at 128 x 64 with
clips of 4 frames, its trunk from ImageNet up to layer3, every row with the same recipe, budget and seeds. The protocol
is that of mars8-dev (matches from the query's own camera, or from one that may be it, are left out) with one clip a
tracklet, its frames spread evenly. These are figures on half of mars8-dev, not MARS figures, and such weights are not
published. A stopped run resumes; a finished one is only shown.
"""

import argparse
import json
import platform
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import stmga
from stmga.backbones import load_backbone
from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.tracklets.manifest import read_manifest
from stmga.train import recipe
from stmga.train.paper_tables import run_table, show_table

TRUNK = {"backbone": "resnet18", "stage": "c4", "size": (128, 64), "clip_length": 4}
RECIPE = recipe("small", persons=8, clips=2, stride=1, epochs=8, steps=25, warmup=1, eval_every=0)


def halves(folder: Path) -> Benchmark:
    """Every other identity to train on, the rest to test."""
    every = read_manifest(folder / "index.jsonl", check_files=False)
    people = sorted({t.person for t in every}, key=int)
    train_on = set(people[::2])
    test = [t for t in every if t.person not in train_on]
    return Benchmark(
        name="mars8-dev, second half",
        train=[t for t in every if t.person in train_on],
        query=[t for t in test if t.extra["role"] == "query"],
        gallery=[t for t in test if t.extra["role"] == "gallery"],
        protocol=Protocol(data="mars8-dev, second of every two identities", clips="evenly"),
        terms="research only",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mars8-dev.zip and the ImageNet trunk")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--rows", nargs="+", default=["baseline:3", "t-mga:1", "s-mga:1", "t-mga,s-mga:3"])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path, help="write the table here too")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    def build(net: stmga.STMGAConfig) -> stmga.STMGA:
        model = stmga.STMGA(net)
        load_backbone(model.backbone, args.data / "resnet18-imagenet-to-layer3.safetensors", name=net.backbone)
        return model

    with TemporaryDirectory() as folder:
        zipfile.ZipFile(args.data / "mars8-dev.zip").extractall(folder)
        benchmark = halves(Path(folder))
        people = {t.person for t in benchmark.train}
        print(f"{len(benchmark.train)} tracklets of {len(people)} persons; {len(benchmark.query)} queries, ", end="")
        print(f"{len(benchmark.gallery)} gallery tracklets; {RECIPE.epochs} x {RECIPE.steps} batches", flush=True)
        rows = []
        for row, seeds in (item.rsplit(":", 1) for item in args.rows):
            rows += run_table(
                "table8", benchmark, RECIPE, args.out, build=build, trunk=TRUNK, rows=[row], seeds=int(seeds),
                started_from="trunk ImageNet up to layer3, the rest random",
            )  # fmt: skip
    print(show_table(rows))
    if args.json:
        where = (
            f"{platform.machine()}, {args.threads} threads a run, torch {torch.__version__}, stmga {stmga.__version__}"
        )
        text = {"where": where, "recipe": RECIPE.to_dict(), "network": {**TRUNK}, "rows": [vars(row) for row in rows]}
        args.json.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
