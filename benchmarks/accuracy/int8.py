"""The cost of int8 in accuracy: mAP and rank-1 of the float32 and the int8 file on a data set, and their sizes.

    python -m benchmarks.accuracy.int8 DATA --calibrate CROPS
    python -m benchmarks.accuracy.int8 DATA --calibrate CROPS --model stmga_resnet50_c4.market_cuhk03 --json out.json
    python -m benchmarks.accuracy.int8 DATA --calibrate CROPS --vectors exact.safetensors

DATA is a set that `stmga.data.load_benchmark` reads, such as the manifest of mars8-dev (not MARS). CROPS calibrate the
int8 file and must not be of the test; without them, rendered walkers do. Both files run in ONNX Runtime. With
--vectors, the float32 vectors that `stmga embed DATA` made with the same weights are used, and only the int8 file runs.
--persons takes only the first N persons of the test, as a rehearsal.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

import stmga
from benchmarks.rows import Row
from benchmarks.speed.int8 import calibration
from benchmarks.turns import where
from stmga import STMGA, Embeddings, TrackletEmbedder
from stmga.data import Benchmark, load_benchmark
from stmga.deploy import ExportedModel, export_int8
from stmga.metrics import Protocol, evaluate
from stmga.tracklets import Tracklet

MOST_LOST = 0.5  # points of mAP


def some_persons(data: Benchmark, most: int | None) -> tuple[list[Tracklet], list[Tracklet]]:
    """Queries and gallery of the first persons; all of them for None."""
    persons = list(dict.fromkeys(tracklet.person for tracklet in data.query))[:most]
    query, gallery = ([t for t in part if most is None or t.person in persons] for part in (data.query, data.gallery))
    return query, gallery


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    model, rows = found["settings"]["model"], found["rows"]
    lost = rows["float32"]["mAP"] - rows["int8"]["mAP"]
    yield Row(f"`{model}`, mAP that int8 loses on {found['data']}", lost, "", MOST_LOST)
    yield Row(f"`{model}`, int8 file over float32", rows["int8"]["bytes"] / rows["float32"]["bytes"], "", 0.4)


Embed = Callable[[Sequence[Tracklet]], Embeddings]


def score(embed: Embed, query: Sequence[Tracklet], gallery: Sequence[Tracklet], protocol: Protocol) -> dict[str, float]:
    """mAP and rank-1, in percent."""
    found = evaluate(embed(query), embed(gallery), protocol)
    return {"mAP": 100 * found.mAP, "rank-1": 100 * found.rank(1)}


def onnx(file: Path) -> Embed:
    """Embeds with a file in ONNX Runtime."""
    return TrackletEmbedder(ExportedModel(file, runtime="onnxruntime"))


def known(file: str, model: STMGA, some: Sequence[Tracklet]) -> Embed:
    """Looks tracklets up in the vectors that `stmga embed` wrote with this network in float32; some are checked."""
    vectors = Embeddings.load(file)
    rows = {name: row for row, name in enumerate(vectors.ids)}

    def found(tracklets: Sequence[Tracklet]) -> Embeddings:
        return vectors.select([rows[tracklet.id] for tracklet in tracklets])

    exact = TrackletEmbedder(model)(some)
    if vectors.digest != exact.digest:
        raise SystemExit(f"{file} is of the weights {vectors.digest[:12]}, not {exact.digest[:12]}")
    if not torch.allclose(found(some).vectors, exact.vectors, rtol=0, atol=1e-5):
        raise SystemExit(f"{file} is not of float32: embed again without --precision")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", metavar="DATA")
    parser.add_argument("--calibrate", metavar="CROPS")
    parser.add_argument("--model", default="stmga_resnet18_c4.market_cuhk03_256", help="a weight of `stmga weights`")
    parser.add_argument("--vectors", metavar="FILE", help="float32 vectors of DATA by these weights")
    parser.add_argument("--persons", type=int, metavar="N")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    model = stmga.create_model(args.model, pretrained=True).eval()
    data = load_benchmark(args.data)
    query, gallery = some_persons(data, args.persons)
    float32 = known(args.vectors, model, query[:8]) if args.vectors else None
    settings = {"model": args.model, "persons": args.persons, "float32": "PyTorch" if args.vectors else "ONNX Runtime"}
    result: dict = {"where": where(), "data": data.name, "settings": settings, "rows": {}}
    with tempfile.TemporaryDirectory() as folder:
        exact, small = Path(folder, "float32.onnx"), Path(folder, "int8.onnx")
        stmga.export(model, exact)
        done = export_int8(model, small, calibration(args.calibrate, model))
        result["int8"] = {
            "ranges": done.ranges,
            "float_heads": list(done.float_heads),
            "calibrated": done.calibrated,
            "cosine": float(done.cosines["onnxruntime"].mean()),
        }
        for name, embed, file in (("float32", float32 or onnx(exact), exact), ("int8", onnx(small), small)):
            scores = score(embed, query, gallery, data.protocol)
            result["rows"][name] = scores | {"bytes": file.stat().st_size}
            print(f"{name:<10}{result['rows'][name]}", flush=True)
    print(f"{result['where']}\n{args.model} on {data.name}, {len(query)} queries; int8: {result['int8']}")
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
