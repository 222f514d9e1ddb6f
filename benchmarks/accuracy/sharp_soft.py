"""Sharp crops in a soft gallery and the reverse: rank-1 and mAP on the 100 held-out CUHK03 identities.

    python -m benchmarks.accuracy.sharp_soft --data FOLDER --model stmga_resnet18_c4.market_cuhk03 --seen soft
    python -m benchmarks.accuracy.sharp_soft --data FOLDER --model runs/mine/last --seen no

FOLDER is what benchmarks.tools.research_data wrote. Each of the 100 has one tracklet of up to 5 frames per camera.
Queries are the tracklets of one camera, the gallery is all tracklets of the other; all frames, cosine, averaged over
both directions. Beside it the mean cosine of different people. --seen says whether the training of the weights saw
these people: the weights of version 0.1.0 saw their soft crops, so their figures are not of strangers. Results join
benchmarks/results/sharp_soft.json, one entry per weight.
"""

import argparse
import json
import statistics
from pathlib import Path

import torch

from benchmarks.turns import where
from stmga import STMGA, Embeddings, TrackletEmbedder, create_model
from stmga.data import load_benchmark
from stmga.metrics import Protocol, evaluate
from stmga.metrics.similarity import similarity_blocks
from stmga.utils.files import atomic_write
from stmga.zoo import is_name

KINDS = ("soft", "sharp")
WAYS = (("soft", "soft"), ("sharp", "sharp"), ("sharp", "soft"), ("soft", "sharp"))
FIGURES = ("rank-1", "mAP", "cosine of others")
SEEN = {"no": "nobody", "soft": "all 100, as soft crops", "both": "all 100, as soft and sharp crops"}
DATA = "100 CUHK03 identities of benchmarks/tools/cuhk03_held_out.json, one tracklet in each of two cameras"


def embed(model: STMGA, data: Path, **options: object) -> dict[str, dict[int, Embeddings]]:
    """Kind -> camera -> the vectors of its tracklets."""
    found = {}
    for kind in KINDS:
        test = load_benchmark(data / f"cuhk03-held-{kind}" / "index.jsonl")
        vectors = TrackletEmbedder(model, **options)([*test.query, *test.gallery])
        cameras = sorted(set(vectors.cameras))
        if len(cameras) != 2:
            raise ValueError(f"expected tracklets of two cameras, {data / f'cuhk03-held-{kind}'} has {cameras}")
        found[kind] = {camera: vectors.select([c == camera for c in vectors.cameras]) for camera in cameras}
    return found


def figures(queries: Embeddings, gallery: Embeddings) -> dict[str, float]:
    """Of queries of one camera in the gallery of the other: rank-1 and mAP in %, and the mean cosine of others."""
    scores = evaluate(queries, gallery, Protocol(data=DATA, queries_in_gallery=False))
    cosines = torch.cat(list(similarity_blocks(queries.vectors, [gallery.vectors])))
    others = torch.tensor([[q != g for g in gallery.persons] for q in queries.persons])
    return {
        "rank-1": 100 * scores.rank(1),
        "mAP": 100 * scores.mAP,
        "cosine of others": float(cosines[others].mean()),
    }


def ways(found: dict[str, dict[int, Embeddings]]) -> dict[str, dict[str, float]]:
    """The four ways, each averaged over both directions between the cameras."""
    rows = {}
    for asked, searched in WAYS:
        first, second = found[asked]
        both = [figures(found[asked][a], found[searched][b]) for a, b in ((first, second), (second, first))]
        rows[f"{asked} -> {searched}"] = {name: round(statistics.mean(f[name] for f in both), 4) for name in FIGURES}
    return rows


def table(weights: dict[str, dict]) -> str:
    """For the docs: a row per weight and way."""
    lines = [
        "| weight | these people in its training data | query -> gallery | rank-1 | mAP "
        "| mean cosine of different people |"
    ]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for name, entry in weights.items():
        for way, row in entry["ways"].items():
            rank, precision, cosine = (row[figure] for figure in FIGURES)
            lines.append(f"| `{name}` | {entry['seen']} | {way} | {rank:.1f} | {precision:.1f} | {cosine:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--model", nargs="+", required=True, metavar="W", help="architecture.tag, or a folder of a saved network")
    add("--data", type=Path, required=True, help="the folder that benchmarks/tools/research_data.py wrote")
    add("--seen", choices=SEEN, required=True, help="the crops of these 100 people that the weights were trained on")
    add("--name", help="of a folder's weights, in table and JSON (default: its last two names)")
    add("--device", default="cpu")
    add("--workers", type=int, default=0)
    add("--json", type=Path, default=Path(__file__).parents[1] / "results" / "sharp_soft.json")
    args = parser.parse_args()
    if args.name and len(args.model) > 1:
        parser.error("--name is for one model")
    args.json.parent.mkdir(parents=True, exist_ok=True)
    result = json.loads(args.json.read_text()) if args.json.exists() else {"data": DATA, "weights": {}}
    for source in args.model:
        model = create_model(source, pretrained=True) if is_name(source) else STMGA.from_pretrained(source)
        rows = ways(embed(model.to(args.device), args.data, workers=args.workers))
        record = model.record
        entry = {"seen": SEEN[args.seen], "training_data": record.training_data, "where": where(args.device)}
        name = args.name or record.name or "/".join(Path(source).parts[-2:])  # no path of this machine
        result["weights"][name] = {**entry, "digest": model.digest(), "ways": rows}
        atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())
    print(table(result["weights"]))


if __name__ == "__main__":
    main()
