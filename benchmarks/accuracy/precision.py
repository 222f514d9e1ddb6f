"""The cost of fewer bits: half precision for computation, float16 and int8 for storage; on mars8-dev, not MARS.

    python -m benchmarks.accuracy.precision ../shared/data
    python -m benchmarks.accuracy.precision ../shared/data --device cuda --precisions bf16 fp16 --json out.json

Each row compares with embeddings computed and kept in float32: the cosine of a tracklet's two embeddings (minimum
and 1st percentile), the largest change of a similarity of two tracklets, the share of each tracklet's ten nearest
that is found again, and the scores of `stmga eval`. Storage rounds queries and gallery alike. On a GPU one row more
decodes the files there. With --keep embeddings stay in a folder, and those that are there are compared, not computed.
"""

import argparse
import json
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.accuracy.mars8_dev import stmga
from benchmarks.speed.large_gallery import recall
from benchmarks.turns import where
from stmga import Embeddings, Gallery
from stmga.embedding.vectors import KINDS, Vectors


def compare(found: Embeddings, exact: Embeddings, folder: Path) -> dict[str, float]:
    """How far embeddings are from the exact ones, and what they score."""
    same = torch.nn.functional.cosine_similarity(found.vectors.double(), exact.vectors.double())
    change = (found.vectors @ found.vectors.T - exact.vectors @ exact.vectors.T).abs().max()
    truth, rows = (Gallery(e).topk(e, 10)[1] for e in (exact, found))
    found.save(folder / "found.safetensors")
    stmga("eval", folder / "found.safetensors", "-o", folder / "found.json", "-q")
    scores = json.loads((folder / "found.json").read_text())
    return {
        "least_cosine": float(same.min()),
        "cosine_1st_percentile": float(same.quantile(0.01)),
        "similarity_change": float(change),
        "recall@10": recall(truth, rows),
        "mAP": 100 * scores["mAP"],
        "rank-1": 100 * scores["rank-1"],
    }


def stored(exact: Embeddings, kind: str) -> Embeddings:
    """Embeddings as a gallery with this storage holds them."""
    rounded = torch.nn.functional.normalize(Vectors.keep(exact.vectors, kind).rows(slice(None)))
    return Embeddings(rounded, exact.items, digest=exact.digest)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with mars8-dev.zip")
    parser.add_argument("--model", default="stmga_resnet18_c4", help="as for `stmga embed`")
    parser.add_argument("--precisions", nargs="*", default=["bf16"], choices=("bf16", "fp16"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep", type=Path, help="folder of the embeddings")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    ways = {precision: ["--precision", precision] for precision in ("fp32", *args.precisions)}
    if args.device.startswith("cuda"):
        ways["decoded"] = ["--decode", "device"]
    with TemporaryDirectory() as name:
        folder = args.keep or Path(name)
        folder.mkdir(exist_ok=True)
        machine = folder / "where.txt"
        if not machine.exists():
            machine.write_text(where(args.device))
        for way, options in ways.items():
            if not (out := folder / f"{way}.safetensors").exists():
                if not (data := Path(name, "data")).exists():
                    zipfile.ZipFile(args.data / "mars8-dev.zip").extractall(data)
                options = [*options, "--model", args.model, "--device", args.device, "-q"]
                stmga("embed", data / "index.jsonl", "-o", out, *options)
        found = {way: Embeddings.load(folder / f"{way}.safetensors") for way in ways}
        exact = found["fp32"]
        names = {"fp32": "fp32", "decoded": "decoded on the GPU"}
        rows = {names.get(way, f"computed in {way}"): compare(e, exact, Path(name)) for way, e in found.items()}
        for kind in list(KINDS)[1:]:
            rows[f"stored as {kind}"] = compare(stored(exact, kind), exact, Path(name))
        result = {"where": machine.read_text(), "model": args.model, "data": "mars8-dev, not MARS", "rows": rows}
    print(f"{result['where']}\n{args.model} on mars8-dev (not MARS)\n")
    print(f"{'':24}{'cosine, least':>15}{'1st pct.':>10}{'similarity':>12}{'recall@10':>11}{'mAP':>8}{'rank-1':>8}")
    for title, row in rows.items():
        print(
            f"{title:24}{row['least_cosine']:>15.6f}{row['cosine_1st_percentile']:>10.6f}{row['similarity_change']:>12.1e}"
            f"{row['recall@10']:>11.4f}{row['mAP']:>8.2f}{row['rank-1']:>8.2f}"
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
