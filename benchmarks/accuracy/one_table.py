"""One table of our weights and two foreign networks, on real and on rendered tracklets, with what they cost.

    python -m benchmarks.accuracy.one_table ../data/mars8-dev/index.jsonl --trunks ../shared/data
    python -m benchmarks.accuracy.one_table --trunks ../shared/data --persons 6

The foreign networks have ImageNet weights alone: torchvision's ResNet-50 up to layer3 with pooled features, as a
module, and its ResNet-18 up to layer3 as an ONNX file, which this script writes. Both see frames of 256 x 128. The sets
are those named, and walkers that the script renders. All is one call of `stmga eval`, which is printed. --few scores
only the first persons of a named set, to try the script out; such figures mean nothing.
"""

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from stmga.cli.torchvision_networks import torchvision_network
from stmga.data.walkers.generate import write_benchmark

OURS = (
    "stmga_resnet18_c4.market_cuhk03_256",
    "stmga_resnet18_c4_baseline.market_cuhk03",
    "stmga_resnet50_c4.market_cuhk03",
)
FILES = {name: f"{name}-imagenet-to-layer3.safetensors" for name in ("resnet18", "resnet50")}


def write_onnx(trunk: Path, path: Path) -> None:
    """The foreign file: (n 3 h w) -> pooled features (n 256) of ResNet-18 up to layer3."""
    network = torchvision_network("resnet18:layer3", str(trunk))
    pooled = torch.nn.Sequential(network, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()).eval()
    program = torch.onnx.export(
        pooled, (torch.rand(2, 3, 256, 128),), dynamo=True, dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
        input_names=["images"], output_names=["features"], verbose=False,
    )  # fmt: skip
    program.save(path)


def few(manifest: Path, persons: int, path: Path) -> Path:
    """The first persons of a set that are among its queries, as a manifest of its own."""
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    kept = set(list(Counter(row["person"] for row in rows if row["role"] == "query"))[:persons])
    chosen = [row for row in rows if row["person"] in kept]
    for row in chosen:
        row["frames"] = [str((manifest.parent / frame).absolute()) for frame in row["frames"]]
    path.write_text("".join(json.dumps(row) + "\n" for row in chosen))
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("sets", nargs="*", type=Path, help="data sets with a test, as for `stmga eval --data`")
    add("--trunks", type=Path, required=True, help=f"folder with {' and '.join(FILES.values())}")
    add("--persons", type=int, default=100, help="walkers of the rendered test (default: 100)")
    add("--few", type=int, metavar="N", help="only N persons of each named manifest")
    add("--out", type=Path, default=Path("one_table.json"), help="the rows; the picture is written beside it as .png")
    args = parser.parse_args()
    with TemporaryDirectory() as folder:
        walkers, foreign = Path(folder, "walkers"), Path(folder, "resnet18-layer3.onnx")
        write_benchmark(walkers, 0, args.persons, cameras=3, tracklets=1, frames=8)
        write_onnx(args.trunks / FILES["resnet18"], foreign)
        sets = [
            few(path, args.few, Path(folder, f"few-{i}.jsonl")) if args.few else path.absolute()
            for i, path in enumerate(args.sets)
        ]
        models = [*OURS, "torchvision:resnet50:layer3", foreign.name]  # the command runs in the folder
        command = [
            *(word for path in [*sets, walkers / "manifest.jsonl"] for word in ("--data", path)),
            *(word for name in models for word in ("--model", name)),
            *("--size", 256, 128, "--backbone-weights", (args.trunks / FILES["resnet50"]).absolute()),
            *("-o", args.out.absolute(), "--picture", args.out.absolute().with_suffix(".png")),
        ]
        print("$ stmga eval", *command, flush=True)
        subprocess.run([sys.executable, "-m", "stmga", "eval", *map(str, command)], check=True, cwd=folder)


if __name__ == "__main__":
    main()
