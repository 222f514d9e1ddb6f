"""int8 over float32 in one run: ONNX Runtime and OpenVINO, beside the eager trunk.

    python -m benchmarks.speed.int8 CROPS
    python -m benchmarks.speed.int8 CROPS --model stmga_resnet50_c4.market_cuhk03 --batch 1 4 --json out.json
    python -m benchmarks.speed.int8 CROPS --xml

float32 in ONNX Runtime is the first side; all sides see the same clips of 8 frames, in turns in one run. Ratios are
within a round, with their quartiles. CROPS calibrate the int8 file, such as the training crops of the weights; without
them, rendered walkers do. With --xml, the int8 file of OpenVINO's own format is one side more, calibrated on the same
frames. The processor needs VNNI or AMX for int8 to be fast: see `flags` in /proc/cpuinfo.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.speed.head_cost import trunk_alone
from benchmarks.turns import in_turns, table, where
from stmga.data import walkers_benchmark
from stmga.deploy import ExportedModel, export_int8
from stmga.deploy.int8 import Int8Export
from stmga.tracklets import Tracklet, read_tracklets

FLAGS = ("avx512_vnni", "avx_vnni", "amx_int8")
BAR = 0.45  # of float32 in ONNX Runtime
FRAMES = 8
BASE, INT8 = "float32, onnxruntime", "int8, onnxruntime"


def instructions() -> list[str]:
    """The processor's instructions for int8."""
    info = Path("/proc/cpuinfo")
    flags = info.read_text().split() if info.exists() else []
    return [flag for flag in FLAGS if flag in flags]


def calibration(crops: str | None, model: stmga.STMGA) -> list[Tracklet]:
    """Tracklets to calibrate on: crops from disk, or rendered walkers."""
    if crops:
        return read_tracklets(crops, check_files=False)
    made = walkers_benchmark(0, 48, cameras=2, tracklets=1, frames=FRAMES, size=model.config.size)
    return [*made.query, *made.gallery]


def sides(model: stmga.STMGA, crops: str | None, folder: Path, xml: bool) -> tuple[dict[str, Callable], dict]:
    """What computes, by name, and facts about the int8 files."""
    exact, small = folder / "exact.onnx", folder / "int8.onnx"
    stmga.export(model, exact)
    frames = calibration(crops, model)
    files = {"int8": export_int8(model, small, frames)}
    found: dict[str, Callable] = {}
    for runtime in ExportedModel.runtimes(exact):
        for name, path in (("float32", exact), ("int8", small)):
            found[f"{name}, {runtime}"] = ExportedModel(path, runtime=runtime)
    if xml:
        files["int8 .xml"] = export_int8(model, folder / "int8.xml", frames)
        found["int8 .xml, openvino"] = ExportedModel(folder / "int8.xml")
    return found, {name: about(done) for name, done in files.items()}


def about(done: Int8Export) -> dict:
    """Facts about an int8 file."""
    return {
        "size_share": done.size / done.float_size,
        "ranges": done.ranges,
        "float_heads": list(done.float_heads),
        "cosine": {name: float(cosine.mean()) for name, cosine in done.cosines.items()},
    }


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    model = found["settings"]["model"]
    yield Row(f"`{model}`, int8 file over float32", found["files"]["int8"]["size_share"], "", 0.4)
    for batch, rows in found["rows"].items():
        for name, row in rows.items():
            if name != BASE:
                what = f"`{model}`, {name}, over float32 in ONNX Runtime, {batch.replace('=', ' = ')}"
                bar = BAR if name == INT8 else None
                yield Row(what, row["ratio"], spread_of(row["ratio_quartiles"]), bar)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("crops", nargs="?", metavar="CROPS", help="to calibrate on (default: rendered walkers)")
    parser.add_argument("--model", default="stmga_resnet18_c4.market_cuhk03_256", help="a weight of `stmga weights`")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--xml", action="store_true")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    settings = {key: value for key, value in vars(args).items() if key not in ("json", "crops")}
    result: dict = {"where": f"{where()}, {', '.join(instructions()) or 'no int8 instructions'}", "settings": settings}
    torch.manual_seed(0)
    model = stmga.create_model(args.model, pretrained=True).eval()
    h, w = model.config.size
    print(f"{result['where']}\n{args.model}, clips of {FRAMES} x {h} x {w}")
    result["rows"] = {}
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        found, result["files"] = sides(model, args.crops, Path(folder), args.xml)
        for name, facts in result["files"].items():
            print(f"{name}: {facts}")
        for batch in args.batch:
            clips = torch.randn(batch, FRAMES, 3, h, w)
            runs = {name: lambda run=run, clips=clips: run(clips) for name, run in found.items()}
            runs["trunk, eager"] = lambda clips=clips: trunk_alone(model, clips)
            result["rows"][f"b={batch}"] = in_turns(runs, args.rounds)
            print(f"\nb = {batch}\n{table(result['rows'][f'b={batch}'], 'float32')}", flush=True)
            if args.json:
                args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
