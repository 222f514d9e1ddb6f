"""The time to load a bundled weight, without imports: verify the file, build the network, copy the weights.

    python -m benchmarks.speed.loading
    python -m benchmarks.speed.loading --names stmga_resnet18_c4.market_cuhk03 --json out.json

Each load is timed in a process of its own, after its imports. The floor is reading the file, its sha256 and its
tensors.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.turns import where

LOAD = """
import hashlib, sys, time
import torch, torchvision, safetensors.torch, stmga, stmga.hub, stmga.backbones
name = sys.argv[1]
record = stmga.get_weights(name)
start = time.perf_counter()
data = (record.folder / record.file).read_bytes()
hashlib.sha256(data).hexdigest(); safetensors.torch.load(data)
floor = time.perf_counter() - start
start = time.perf_counter()
stmga.create_model(name, pretrained=True)
print(floor, time.perf_counter() - start)
"""


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    for row in found["rows"]:
        what = f"loading `{row['name']}` (reading and hashing its file: {row['floor_s']:.2f} s)"
        yield Row(what, row["load_s"], spread_of(row["spread"]), 0.5, unit=" s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = [n for n in stmga.list_weights() if (r := stmga.get_weights(n)).folder and (r.folder / r.file).is_file()]
    parser.add_argument("--names", nargs="+", default=here)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    result: dict = {"where": where(), "rows": []}
    print(f"{result['where']}\n{'weight':<50}{'MB':>6}{'floor s':>10}{'load s':>9}{'spread':>16}")
    for name in args.names:
        pairs = []
        for _ in range(args.rounds):
            text = subprocess.run([sys.executable, "-c", LOAD, name], check=True, capture_output=True, text=True).stdout
            pairs.append(list(map(float, text.split())))
        floor, load = (statistics.median(column) for column in zip(*pairs, strict=True))
        spread = [min(p[1] for p in pairs), max(p[1] for p in pairs)]
        size = stmga.get_weights(name).file_size / 1e6
        result["rows"].append({"name": name, "mb": size, "floor_s": floor, "load_s": load, "spread": spread})
        print(f"{name:<50}{size:>6.1f}{floor:>10.3f}{load:>9.3f}{'-'.join(f'{s:.3f}' for s in spread):>16}", flush=True)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
