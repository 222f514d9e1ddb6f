"""Every figure about speed and memory in one command: runs the benchmarks, prints a table, keeps their JSON.

    python benchmarks/suite.py
    python benchmarks/suite.py --only blocks runtimes
    python benchmarks/suite.py --device cuda --out results-gpu
    python benchmarks/suite.py --table

Each case is a benchmark of this folder in a process of its own, one after another: whatever it compares it measures in
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
from dataclasses import dataclass, replace
from pathlib import Path

from turns import where

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Row:
    """One figure; ``bar`` is what it may be at most (or at least)."""

    what: str
    figure: float
    spread: str = ""
    bar: float | None = None
    least: bool = False  # whether the bar is a lower one
    unit: str = ""

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        met = self.figure >= self.bar if self.least else self.figure <= self.bar
        return f"{'at least' if self.least else 'at most'} {self.bar:g}{self.unit}: {'met' if met else 'missed'}"

    def markdown(self) -> str:
        return f"| {self.what} | {self.figure:.4g}{self.unit} | {self.spread} | {self.verdict} |"


def spread_of(quartiles: list[float], unit: str = "") -> str:
    return "-".join(f"{q:.3g}" for q in quartiles) + unit


def head_cost(found: dict) -> Iterator[Row]:
    bars = {("stmga_resnet50", 1): 1.22, ("stmga_resnet50", 4): 1.18}
    bars |= {("stmga_resnet50_light", 1): 1.10, ("stmga_resnet50_light", 4): 1.08}
    for row in found["rows"]:
        case = row["model"], row["batch"]
        what = f"`{row['model']}` over its trunk, eager, b = {row['batch']}"
        yield Row(what, row["ratio"], spread_of(row["ratio_quartiles"]), bars.get(case))


def runtimes(found: dict) -> Iterator[Row]:
    model = found["settings"]["model"]
    kept = "freed memory kept, " if found["settings"].get("kept") else ""
    for batch, sides in found["rows"].items():
        over = f"over its eager trunk, {kept}" + batch.replace("=", " = ")
        ways = {name: row for name, row in sides.items() if row.get("difference", 1) <= 1e-4}
        fastest = min(ways, key=lambda name: ways[name]["ratio"])
        for name, row in ways.items():
            what = f"`{model}`, {name}, {over} (differs by {row['difference']:.0e})"
            yield Row(what, row["ratio"], spread_of(row["ratio_quartiles"]), 0.70 if name == fastest else None)
        for name in (n for n in ways if n.startswith(".")):
            yield Row(f"{name} over PyTorch eager, {kept}{batch}", ways[name]["seconds"] / ways["eager"]["seconds"])


def half(found: dict) -> Iterator[Row]:
    model, precision = (found["settings"][key] for key in ("model", "precision"))
    for batch, sides in found["rows"].items():
        exact = sides["folded, channels last, fp32"]
        for name in ("folded, channels last", "folded, channels last, compiled"):
            what = f"`{model}` in {precision}, {name}, over folded, channels last, fp32, {batch.replace('=', ' = ')}"
            yield Row(f"{what} (differs by {sides[name]['difference']:.0e})", sides[name]["seconds"] / exact["seconds"])
            what = f"`{model}` in {precision}, {name}, {batch.replace('=', ' = ')}"
            yield Row(f"{what}: clips per second", sides[name]["clips_per_s"])
            if "share_of_matrix_rate" in sides[name]:  # on a GPU
                yield Row(f"{what}: share of a large matrix product's rate", sides[name]["share_of_matrix_rate"])
                yield Row(f"{what}: the trunk's share of the time", sides[name]["share_of_trunk"])


def blocks(found: dict) -> Iterator[Row]:
    for key, sides in found["rows"].items():
        mode, floor = key.split(": ")
        for name, row in sides.items():
            if name != floor:
                bar = 2.5 if name == "attended pooling, 7 attentions" and mode == "compiled" else None
                yield Row(f"{name}, {mode}, over {floor}", row["ratio"], spread_of(row["ratio_quartiles"]), bar)


def pooling(found: dict) -> Iterator[Row]:
    for title, sides in found["rows"].items():
        for name in (n for n in sides if n not in ("floor", "plain")):
            what = f"attended pooling, {title}, {name}, over its floor"
            yield Row(what, sides[name]["ratio"], spread_of(sides[name]["ratio_quartiles"]))


def train_step(found: dict) -> Iterator[Row]:
    model = found["settings"]["model"]
    kept = ", freed memory kept" if found["settings"]["kept"] else ""
    for name, row in found["sides"].items():
        if name.startswith("whole"):
            what = f"training step of `{model}`{name.removeprefix('whole')}{kept}, over that of the baseline"
            yield Row(f"{what}: time", row["time_ratio"], spread_of(row["time_ratio_quartiles"]), bar=1.3)
            yield Row(f"{what}: peak memory", row["memory_ratio"], bar=1.15)


def allocator(found: dict) -> Iterator[Row]:
    model = found["settings"]["model"]
    for name, row in found["sides"].items():
        if name.endswith("memory kept"):
            what = f"`{model}`, {name}, over given back"
            yield Row(f"{what}: time", row["time_ratio"], spread_of(row["time_ratio_quartiles"]))
            yield Row(f"{what}: peak memory", row["memory_ratio"])


def reading(found: dict) -> Iterator[Row]:
    from_jpeg = found["sides"]["from JPEG"]
    spread = spread_of(sorted(1 / q for q in from_jpeg["ratio_quartiles"]))
    model = found["settings"]["architecture"]
    yield Row(f"embedding from JPEG over `{model}` alone, of its speed", found["ratio"], spread, 0.92, least=True)


def loading(found: dict) -> Iterator[Row]:
    for row in found["rows"]:
        what = f"loading `{row['name']}` (reading and hashing its file: {row['floor_s']:.2f} s)"
        yield Row(what, row["load_s"], spread_of(row["spread"]), 0.5, unit=" s")


def evaluator(found: dict) -> Iterator[Row]:
    ours, loop = found["median"]["stmga"], found["median"]["loop"]
    size = f"evaluation at the size of MARS, {found['queries']:,} x {found['gallery']:,} x {found['dim']:,}"
    yield Row(f"{size}: CPU beyond the product", ours["cpu_beyond_product_s"], unit=" s")
    share = ours["cpu_beyond_product_s"] / loop["cpu_beyond_product_s"]
    yield Row("the same over the usual loop", share)
    yield Row("the same: memory beyond the features", ours["peak_MB"], unit=" MB")


def reranking(found: dict) -> Iterator[Row]:
    ours = found["stmga"]
    yield Row("re-ranking at the size of MARS: CPU", ours["cpu_s"], unit=" s")
    yield Row("the same: memory beyond the features", ours["peak_MB"], unit=" MB")


def large_gallery(found: dict) -> Iterator[Row]:
    size = found["settings"]
    what = f"exact search, {size['count']:,} x {size['dim']}, {size['queries']} queries, top {size['top']}"
    for row in found["exact"]:
        full = row["storage"] == "float32"
        words = f"{what}, {row['storage']}" + ("" if full else f" (recall {row['recall']:.4f})")
        yield Row(f"{words}, over product and top-k", row["ratio"], spread_of(row["quartiles"]), 1.5 if full else None)
        yield Row(f"{words}: extra memory", row["extra_mb"], bar=200 if full else None, unit=" MB")
    for kind in found["approximate"]:
        for row in kind["rows"]:
            words = f"FAISS {kind['kind']}, effort {row['effort']}: recall@{size['top']} {row['recall']:.3f}"
            yield Row(words, row["queries_per_s"], unit=" queries/s")


# Which arguments, what is read out of the JSON, and which arguments more on a GPU; None: it does not compute there.
TIMED = ["stmga_resnet50", "stmga_resnet50_light", "stmga_resnet50_c4", "stmga_resnet18_c4"]
LARGE = ["--architecture", "stmga_resnet50", "--batch-size", "32", "--tracklets", "4096", "--workers", "12"]
CASES: dict[str, tuple[list[str], Callable[[dict], Iterator[Row]], list[str] | None]] = {
    "head_cost": (["--models", *TIMED], head_cost, ["--batch", "1", "32"]),
    "runtimes": ([], runtimes, ["--batch", "1", "32"]),
    "runtimes-kept": (["--kept"], runtimes, None),
    "runtimes-bf16": (["--precision", "bf16"], half, ["--batch", "1", "32"]),
    "blocks": ([], blocks, ["--batch", "32", "--precision", "bf16"]),
    "pooling": ([], pooling, ["--batch", "32", "--precision", "bf16"]),
    "train_step": ([], train_step, ["--batch", "32", "--precision", "bf16"]),
    "train_step-recompute": (["--recompute", "layer1"], train_step, ["--batch", "32", "--precision", "bf16"]),
    "train_step-kept": (["--kept"], train_step, None),
    "train_step-kept-recompute": (["--kept", "--recompute", "layer1"], train_step, None),
    "allocator": ([], allocator, None),
    "allocator-large": (["--model", "stmga_resnet50", "--size", "256", "128"], allocator, None),
    "reading": ([], reading, [*LARGE, "--compile", "--precision", "bf16"]),
    "loading": ([], loading, None),
    "evaluator": ([], evaluator, None),
    "reranking": (["--skip-dense"], reranking, None),
    "large_gallery": ([], large_gallery, None),
}
BARS_OF_A_CPU = ("head_cost", "runtimes")


def run(case: str, device: str, out: Path) -> dict:
    """One benchmark in a process of its own: its rows and the peak of its memory."""
    arguments, read, more = CASES[case]
    script, file = case.partition("-")[0], out / f"{case}.json"
    there = more is not None and device != "cpu"
    options = ["--device", device, *(more or ())] if there else []
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments, *options, "--json", str(file)]
    print(f"\n$ python benchmarks/{script}.py {' '.join([*arguments, *options])}", flush=True)
    process = subprocess.Popen(command)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"benchmarks/{script}.py failed; its own output is above")
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
