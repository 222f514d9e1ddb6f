"""Fine-tuning on a few new cameras: trained on half of the identities of mars8-dev, tested on the other half.

    python -m benchmarks.accuracy.fine_tuning ../shared/data -o runs/fine-tuning --weights stmga_resnet18_c4
    python -m benchmarks.accuracy.fine_tuning ../shared/data -o runs/tuned --weights stmga_resnet18_c4 --only zero-shot

Every other identity, in order of their numbers, is for training. The rest is the test, and its tracklets keep their
roles. The script prints and runs the commands for each figure on that test: the weight unchanged; fine-tuned;
fine-tuned with a memory of the persons in place of classifiers, for longer; fine-tuned without camera labels; as many
steps as the second from the ImageNet trunk. The first and the third are also scored with a whitening layer, solved from
the same labels. The figures are of half of mars8-dev, not of MARS. These weights are not published.
"""

import argparse
import json
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import stmga as library
from benchmarks.turns import where

STEPS = [
    "--recipe", "clips", "--clip-length", 4,
    "--set", "steps=25", "--set", "warmup=0.5", "--set", "eval_every=0", "--set", 'frozen=["conv1","bn1","layer1"]',
]  # fmt: skip
SHORT = ["--epochs", 6]
FAST = ["--precision", "bf16"]
CONTRAST = ["--epochs", 12, *FAST, "--set", "contrast=0.1", "--set", "mix_cameras=true"]
TUNED = ["--lr", 2e-4, "--set", "trunk_lr=0.5"]
WHITENED = {"zero-shot": "whitened", "fine-tuned by contrast": "by contrast, then whitened"}
START = ["--lr", 3.5e-4, "--set", "trunk_lr=1"]  # an ImageNet trunk has further to go


def stmga(*arguments: object) -> float:
    """Run the command as a user would; its CPU seconds."""
    import resource

    words = [str(argument) for argument in arguments]
    print("\n$ stmga", *words, flush=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "stmga", *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def halves(data: Path, out: Path) -> Path:
    """The folder of the unpacked set, with ``half.jsonl``, which has roles; ``half-training.jsonl``, its training
    tracklets alone, so that CPU seconds are of training and not of a test of its result; ``half-no-cameras.jsonl``."""
    folder = out / "data"
    if not folder.is_dir():
        folder.mkdir(parents=True)
        zipfile.ZipFile(data / "mars8-dev.zip").extractall(folder)
    rows = [json.loads(line) for line in (folder / "index.jsonl").read_text().splitlines()]
    train_on = set(sorted({row["person"] for row in rows})[::2])
    rows = [row | {"role": "train"} if row["person"] in train_on else row for row in rows]
    training = [row for row in rows if row["role"] == "train"]
    blind = [{k: v for k, v in row.items() if k not in ("camera", "camera_candidates")} for row in training]
    for name, every in {"half": rows, "half-training": training, "half-no-cameras": blind}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in every))
    return folder


def scores_of(model: object, folder: Path, out: Path) -> dict[str, float]:
    stmga("eval", "--data", folder / "half.jsonl", "--model", model, "-o", out, "-q")
    return json.loads(out.read_text())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mars8-dev.zip and the ImageNet trunk")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the runs; finished ones are kept")
    parser.add_argument("--weights", default="stmga_resnet18_c4", help="what is fine-tuned")
    parser.add_argument("--only", nargs="+", help="some of the rows")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the table here")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    folder = halves(args.data, args.out)
    arch = library.get_weights(args.weights).arch if "." in args.weights else args.weights
    trunk = args.data / "resnet18-imagenet-to-layer3.safetensors"
    own = library.create_model(args.weights, pretrained=True).config  # frames are as large as the weight's
    raw = ["--model", arch, "--backbone-weights", trunk, "--size", *own.size]
    known, blind = folder / "half-training.jsonl", folder / "half-no-cameras.jsonl"
    trainings = {
        "fine-tuned": ["--data", known, "--from", args.weights, *STEPS, *SHORT, *TUNED],
        "fine-tuned by contrast": ["--data", known, "--from", args.weights, *STEPS, *CONTRAST, *TUNED],
        "fine-tuned, no cameras": ["--data", blind, "--from", args.weights, *STEPS, *SHORT, *TUNED],
        "from ImageNet": ["--data", known, *raw, *STEPS, *SHORT, *START],
    }
    rows = []
    for name in args.only or ["zero-shot", *trainings]:
        for seed in range(args.seeds if name in trainings else 1):
            model, seconds, start = args.weights, 0.0, time.time()
            if name in trainings:
                run = args.out / named(name, seed)
                seconds = stmga("train", *trainings[name], "--seed", seed, "-o", run, "-q")
                model = run / "last"
            networks = {name: (model, seconds)}
            if name in WHITENED:
                layer = args.out / named(WHITENED[name], seed)
                solved = stmga("whiten", "--data", known, "--from", model, *FAST, "-o", layer, "-q")
                networks[WHITENED[name]] = layer, seconds + solved
            for title, (network, spent) in networks.items():
                found = scores_of(network, folder, args.out / "eval.json")
                rows.append({"start": title, "seed": seed, "cpu_seconds": round(spent), **figures(found)})
                print(rows[-1], f"{time.time() - start:.0f} s", flush=True)
    print_table(rows)
    if args.json:
        text = {"where": where(), "weights": args.weights, "test": "second half of mars8-dev, not MARS", "rows": rows}
        args.json.write_text(json.dumps(text, indent=1) + "\n")


def named(title: str, seed: int) -> str:
    """The folder of a row."""
    return f"{title.replace(',', '').replace(' ', '-')}-{seed}"


def print_table(rows: list[dict]) -> None:
    print(f"\n{'':28}{'mAP':>7}{'rank-1':>8}{'rank-5':>8}{'CPU s':>8}")
    for row in rows:
        print(f"{row['start']:28}{row['mAP']:7.1f}{row['rank-1']:8.1f}{row['rank-5']:8.1f}{row['cpu_seconds']:8}")


def figures(found: dict) -> dict[str, float]:
    return {name: round(100 * found[name], 2) for name in ("mAP", "rank-1", "rank-5", "rank-10")}


if __name__ == "__main__":
    main()
