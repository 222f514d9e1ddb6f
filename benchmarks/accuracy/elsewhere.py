"""Scores of a network on another data set than it was trained on: a row for the cards of weights.

    python -m benchmarks.accuracy.elsewhere runs/cuhk03/last mars8-dev/index.jsonl \\
        --trained-on "CUHK03 alone, 10 epochs" -o elsewhere.json \\
        --title "mars8-dev (half-resolution subset of the MARS test set; not MARS)"
    python -m benchmarks.accuracy.elsewhere runs/market/last cuhk03-100.jsonl \\
        --trained-on "Market-1501 alone, 10 epochs" -o elsewhere.json \\
        --title "CUHK03, 100 listed identities that no training saw"

adds a row to the JSON list, or replaces the row of the same training and test. `release_weights.py --elsewhere` takes
it into the record of a weight.
"""

import argparse
import dataclasses
import json
from pathlib import Path

from benchmarks.accuracy.card_figures import figures
from stmga import STMGA
from stmga.data import load_benchmark
from stmga.data.benchmark import Benchmark
from stmga.train.validation import validate
from stmga.utils.distributed import World
from stmga.utils.files import atomic_write


def row(model: STMGA, benchmark: Benchmark, trained_on: str = "", **options) -> dict[str, object]:
    """The scores of the network, and what it was trained on: by default what its record says."""
    trained_on = trained_on or (model.record.training_data if model.record else "")
    if not trained_on:
        raise SystemExit("the record of this network does not say what it was trained on: give --trained-on")
    return {"trained on": trained_on, **figures(validate(model, benchmark, World(), **options))}


def rows_of(file: Path) -> list[dict[str, object]]:
    """What the file holds; SystemExit for something else."""
    try:
        rows = json.loads(file.read_bytes())
        if not all({"trained on", "data", "mAP", "protocol"} <= row.keys() for row in rows):
            raise ValueError("a row lacks trained on, data, mAP or protocol")
    except (AttributeError, TypeError, ValueError) as error:
        raise SystemExit(f"{file} is not a list of rows that elsewhere.py wrote: {error}") from error
    return rows


def add(file: Path, new: dict[str, object]) -> list[dict[str, object]]:
    """Write the row into the file; it replaces a row of the same training and test."""
    same = ("trained on", "data")
    rows = [old for old in (rows_of(file) if file.is_file() else []) if any(old[key] != new[key] for key in same)]
    atomic_write(file, (json.dumps([*rows, new], indent=1, ensure_ascii=False) + "\n").encode())
    return [*rows, new]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", help="a folder of save_pretrained: RUN/best or RUN/last")
    parser.add_argument("data", help="the other data set, as for `stmga eval`")
    parser.add_argument("--trained-on", default="", help="by default what the record of the network says")
    parser.add_argument("--title", required=True, help="the name of the data in the result")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="JSON")
    args = parser.parse_args()
    benchmark = load_benchmark(args.data)
    benchmark = dataclasses.replace(benchmark, protocol=dataclasses.replace(benchmark.protocol, data=args.title))
    new = row(STMGA.from_pretrained(args.network), benchmark, args.trained_on, workers=args.workers, progress=True)
    print(new, f"{args.out}: {len(add(args.out, new))} rows", sep="\n")


if __name__ == "__main__":
    main()
