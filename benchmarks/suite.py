"""Every figure about speed and memory in one command: runs the benchmarks, prints a table, keeps their JSON.

    python -m benchmarks.suite
    python -m benchmarks.suite --only blocks runtimes
    python -m benchmarks.suite --device cuda --out results-gpu
    python -m benchmarks.suite --table

Each case is a benchmark of speed/ in a process of its own, one after another: whatever it compares it measures in
turns in one run. Its output is kept as <case>.json, the table as suite.json with the peak memory of each process. Leave
the machine alone meanwhile; it takes three quarters of an hour on two cores, half of it the large gallery. --table
prints the kept table as the docs show it.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from benchmarks.rows import Row
from benchmarks.speed import (
    allocator,
    blocks,
    evaluator,
    head_cost,
    large_gallery,
    loading,
    pooling,
    reading,
    reranking,
    runtimes,
    train_step,
)
from benchmarks.turns import where

HERE = Path(__file__).parent


# Which arguments, what is read out of the JSON, and which arguments more on a GPU; None: it does not compute there.
TIMED = ["stmga_resnet50", "stmga_resnet50_light", "stmga_resnet50_c4", "stmga_resnet18_c4"]
LARGE = ["--architecture", "stmga_resnet50", "--batch-size", "32", "--tracklets", "4096", "--workers", "12"]
CASES: dict[str, tuple[list[str], Callable[[dict], Iterator[Row]], list[str] | None]] = {
    "head_cost": (["--models", *TIMED], head_cost.table_rows, ["--batch", "1", "32"]),
    "runtimes": ([], runtimes.table_rows, ["--batch", "1", "32"]),
    "runtimes-kept": (["--kept"], runtimes.table_rows, None),
    "runtimes-bf16": (["--precision", "bf16"], runtimes.half_rows, ["--batch", "1", "32"]),
    "blocks": ([], blocks.table_rows, ["--batch", "32", "--precision", "bf16"]),
    "pooling": ([], pooling.table_rows, ["--batch", "32", "--precision", "bf16"]),
    "train_step": ([], train_step.table_rows, ["--batch", "32", "--precision", "bf16"]),
    "train_step-recompute": (
        ["--recompute", "layer1"],
        train_step.table_rows,
        ["--batch", "32", "--precision", "bf16"],
    ),
    "train_step-kept": (["--kept"], train_step.table_rows, None),
    "train_step-kept-recompute": (["--kept", "--recompute", "layer1"], train_step.table_rows, None),
    "allocator": ([], allocator.table_rows, None),
    "allocator-large": (["--model", "stmga_resnet50", "--size", "256", "128"], allocator.table_rows, None),
    "reading": ([], reading.table_rows, [*LARGE, "--compile", "--precision", "bf16"]),
    "loading": ([], loading.table_rows, None),
    "evaluator": ([], evaluator.table_rows, None),
    "reranking": (["--skip-dense"], reranking.table_rows, None),
    "large_gallery": ([], large_gallery.table_rows, None),
}
BARS_OF_A_CPU = ("head_cost", "runtimes")


def run(case: str, device: str, out: Path) -> dict:
    """One benchmark in a process of its own: its rows and the peak of its memory."""
    arguments, read, more = CASES[case]
    script, file = case.partition("-")[0], out / f"{case}.json"
    there = more is not None and device != "cpu"
    options = ["--device", device, *(more or ())] if there else []
    command = [sys.executable, "-m", f"benchmarks.speed.{script}", *arguments, *options, "--json", str(file.resolve())]
    print(f"\n$ python -m benchmarks.speed.{script} {' '.join([*arguments, *options])}", flush=True)
    process = subprocess.Popen(command, cwd=HERE.parent)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"benchmarks.speed.{script} failed; its own output is above")
    found = json.loads(file.read_text())
    rows = [replace(row, bar=None) if there and case in BARS_OF_A_CPU else row for row in read(found)]
    return {"peak_gb": used.ru_maxrss * 1024 / 1e9, "rows": [vars(row) for row in rows]}


def table(result: dict) -> str:
    """The rows as a table in Markdown, and where they are from."""
    lines = [f"{result['where']}.", "", "| what | figure | quartiles | bar |", "| --- | --- | --- | --- |"]
    for case in CASES:
        if case in result["cases"]:
            lines += [Row(**row).markdown() for row in result["cases"][case]["rows"]]
    peaks = (f"{case} {result['cases'][case]['peak_gb']:.1f}" for case in CASES if case in result["cases"])
    return "\n".join([*lines, "", f"Peak memory of the processes in GB: {', '.join(peaks)}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=list(CASES), help="some of the cases; the others' rows are kept")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    parser.add_argument("--table", action="store_true", help="measure nothing, print the table that is kept")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    file = args.out / "suite.json"
    result: dict = json.loads(file.read_text()) if file.exists() else {"cases": {}}
    if not args.table:
        if result["cases"] and result["where"] != where(args.device):
            result["cases"] = {}  # of another machine or version: figures of two do not share a table
        result["where"] = where(args.device)
        unkept = set() if platform.libc_ver()[0] == "glibc" else {c for c in CASES if "kept" in c or "allocator" in c}
        for case in args.only or (c for c in CASES if c not in unkept):  # freed memory is kept by glibc alone
            result["cases"][case] = run(case, args.device, args.out)
            file.write_text(json.dumps(result, indent=1) + "\n")
    print("\n" + table(result))


if __name__ == "__main__":
    main()
