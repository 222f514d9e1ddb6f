"""Gain and cost of options at test time, for each weight: mirrored clips, two sizes, re-ranking.

    python -m benchmarks.accuracy.test_time mars8-dev/index.jsonl --model stmga_resnet18_c4.market_cuhk03 --work vectors

- plain: one size, cosine
- flip: `TrackletEmbedder(flip=True)`, the mean over each clip and its mirror image
- two sizes: `TrackletEmbedder(two_sizes=True)`, the mean over each clip at the network's own size and at 1.25 times it
- re-ranking: k-reciprocal (Zhong et al. 2017), of the plain vectors

Every row has mAP and rank-1 by the protocol of the data, and its cost: the seconds of the network for one clip that is
in memory, over those of the plain form, both in one run, in turns. Re-ranking costs what it adds to the ranking of the
whole test, divided by the test's clips. "at 0.001" is the similarity that 1 in 1,000 pairs of different persons reach.

Vectors are kept in the folder WORK: the same command resumes from them. Measure costs while nothing else computes;
scores need no quiet machine, so run it with --rounds 0 first. --precision is that of the vectors; costs are of fp32.
Results join those of other weights in the JSON file.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.accuracy.card_figures import MARS8
from benchmarks.turns import in_turns, where
from stmga import STMGA, Embeddings, TrackletEmbedder
from stmga.data import load_benchmark
from stmga.data.benchmark import Benchmark
from stmga.embedding.clip_dataset import clip_indices
from stmga.embedding.resumable import embed_in_pieces
from stmga.embedding.views import LARGER, Views
from stmga.metrics import Protocol, Reranking, calibrate, evaluate
from stmga.utils.files import atomic_write
from stmga.zoo import create_model, is_name

RATE = 1e-3
FORMS = ("plain", "flip", "two sizes", "re-ranking")
CLIPS = 4  # computed at once, as the embedder does on a CPU
OUT = Path(__file__).parents[1] / "results" / "test_time.json"


def sides(model: STMGA) -> dict:
    """One call of each form on clips that are in memory."""
    h, w = model.config.size
    clips = torch.randint(256, (CLIPS, model.config.clip_length, 3, h // 2, w // 2), dtype=torch.uint8)
    fused = model.eval().fuse()

    def form(*, flip: bool = False, two_sizes: bool = False) -> Callable[[], Tensor]:
        views = Views(model, flip=flip, two_sizes=two_sizes)

        @torch.inference_mode()
        def run() -> Tensor:
            pixels = views.transform(clips)
            seen = [view.unflatten(0, clips.shape[:2]) for view in views.of(pixels.flatten(0, 1))]
            return torch.stack([fused.encode(view) for view in seen]).mean(0)

        return run

    return {"plain": form(), "flip": form(flip=True), "two sizes": form(two_sizes=True)}


def embedded(embedder: TrackletEmbedder, benchmark: Benchmark, file: Path) -> Embeddings:
    """Queries, then gallery; from the file where they are there already."""
    if not file.is_file():
        embed_in_pieces(embedder, [*benchmark.query, *benchmark.gallery], file)
    return Embeddings.load(file)


def ranked(every: Embeddings, queries: int, protocol: Protocol) -> tuple[dict, float]:
    """Scores in percent, and the seconds of the ranking."""
    query, gallery = every.select(range(queries)), every.select(range(queries, len(every)))
    start = time.perf_counter()
    found = evaluate(query, gallery, protocol)
    return {"mAP": round(100 * found.mAP, 2), "rank-1": round(100 * found.rank(1), 2)}, time.perf_counter() - start


def measure(name: str, model: STMGA, benchmark: Benchmark, args: argparse.Namespace) -> dict[str, dict]:
    """A row for each form."""
    queries, rows = len(benchmark.query), {}
    ranking: dict[str, float] = {}
    for form in FORMS[:3]:
        views = {"flip": form == "flip", "two_sizes": form == "two sizes"}
        embedder = TrackletEmbedder(model, precision=args.precision, progress=True, **views)
        every = embedded(embedder, benchmark, args.work / f"{name.replace('/', '_')}-{form}.safetensors")
        rows[form], ranking[form] = ranked(every, queries, benchmark.protocol)
        rows[form]["similarity at 0.001"] = calibrate(every, false_match_rates=[RATE]).thresholds[0].similarity
        if form == "plain":
            reranked = replace(benchmark.protocol, reranking=Reranking())
            rows["re-ranking"], ranking["re-ranking"] = ranked(every, queries, reranked)
    if args.rounds:
        for form, took in in_turns(sides(model), args.rounds).items():
            rows[form] |= {"seconds a clip": took["seconds"] / CLIPS, "cost": took["ratio"]}
            rows[form]["cost quartiles"] = took["ratio_quartiles"]
        clips = sum(len(clip_indices(len(t), model.config.clip_length)) for t in (*benchmark.query, *benchmark.gallery))
        added = (ranking["re-ranking"] - ranking["plain"]) / clips
        rows["re-ranking"]["cost"] = 1 + added / rows["plain"]["seconds a clip"]
    return rows


def table(results: dict[str, dict]) -> str:
    lines = [f"{'weight':<46}{'form':<12}{'mAP':>7}{'rank-1':>8}{'cost':>7}{'at 0.001':>10}"]
    for model, rows in results.items():
        for form in FORMS:
            row = rows[form]
            cost = f"{row['cost']:.2f}" if "cost" in row else "-"
            similarity = f"{row['similarity at 0.001']:.3f}" if "similarity at 0.001" in row else "-"
            figures = f"{row['mAP']:>7.2f}{row['rank-1']:>8.2f}{cost:>7}{similarity:>10}"
            lines.append(f"{model:<46}{form:<12}{figures}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", help="what is tested on, as for `stmga eval`")
    add("--model", nargs="+", required=True, help="names of weights, or folders of saved networks")
    add("--work", type=Path, required=True, help="folder in which the vectors are kept")
    add("--title", default=MARS8, help="name of the data, for the table")
    add("--rounds", type=int, default=15, help="of the costs; 0 leaves them out")
    add("--precision", choices=("fp32", "bf16"), default="fp32", help="of the vectors that are scored")
    add("--threads", type=int, default=torch.get_num_threads())
    add("--json", type=Path, default=OUT)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    benchmark = load_benchmark(args.data)
    results: dict[str, dict] = {}
    for name in args.model:
        model = create_model(name, pretrained=True) if is_name(name) else STMGA.from_pretrained(name)
        results[name] = measure(name, model, benchmark, args)
        print(table({name: results[name]}), flush=True)
    protocol = replace(benchmark.protocol, data=args.title).describe()
    known = json.loads(args.json.read_text())["weights"] if args.json.is_file() else {}
    new = {name: {"where": where(), "precision": args.precision, **rows} for name, rows in results.items()}
    result = {"protocol": protocol, "larger": LARGER, "weights": known | new}
    atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())
    print(f"\n{table(results)}\n\n{protocol}\n{where()}")


if __name__ == "__main__":
    main()
