"""What a search gains from re-ranking, from filters, and from travel times.

    python -m benchmarks.accuracy.search EMBEDDINGS... --seeds 0 1 2

EMBEDDINGS are labelled, with a `role`: the rows of role "query" search in all rows, plain and re-ranked, counted by
`stmga.metrics.evaluate` as `stmga search` does.

For the seeds, scenes are rendered and embedded as in scenes.py. All are put into one gallery, ten minutes apart on one
clock, with persons of their own. Every true tracklet searches in the tracklets of the other cameras:

- `plain`: by cosine
- `time`: `where`, within a minute of the query
- `travel`: nobody is in two cameras within 2 seconds, which the scenes guarantee, and people take at most 60 seconds
- `rerank`, `rerank, travel`: in the order of re-ranking

A correct tracklet that is left out counts as never found. `in a camera` asks where the person was in one other camera:
the share of (query, camera) whose first match in that camera, or first match of all, is right.

Results are written to benchmarks/results/search.json.
"""

import argparse
import itertools
import json
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.accuracy.scenes import embedded
from benchmarks.turns import where
from stmga import Embeddings, Gallery, read_tracklets
from stmga.data import write_scenes
from stmga.gallery import Match, Where
from stmga.metrics import Protocol, Reranking, average_precision, evaluate
from stmga.people import TravelTime
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

APART = 600.0  # seconds from one scene to the next
TRAVEL = (2.0, 60.0)  # seconds between two cameras
NEAR = 60.0  # seconds around a query


def reranking_gain(embeddings: Embeddings) -> dict[str, dict[str, float]]:
    """mAP and rank-1 of the queries among all rows, plain and re-ranked."""
    queries = embeddings.select([item.get("role") == "query" for item in embeddings.items])
    found = {}
    for way, reranking in (("plain", None), ("rerank", Reranking())):
        result = evaluate(queries, embeddings, Protocol(queries_in_gallery=False, reranking=reranking))
        found[way] = {"mAP": result.mAP, "rank-1": result.rank(1), "mINP": result.mINP}
    return found


def joined(scenes: Sequence[Embeddings]) -> list[Embeddings]:
    """The scenes on one clock, one after the other, with ids and persons of their own."""
    found = []
    for number, scene in enumerate(scenes):
        items = [
            {
                "tracklet": f"{number}/{item['tracklet']}", "person": f"{number}/{item['person']}",
                "camera": item["camera"], "time": item["time"] + number * APART,
                "end_time": item["end_time"] + number * APART, "scene": number,
            }
            for item in scene.items
        ]  # fmt: skip
        found.append(Embeddings(scene.vectors, items, scene.digest, scene.model, calibration=scene.calibration))
    return found


def ways(gallery: Gallery, queries: Embeddings) -> Iterator[tuple[str, list[list[Match]]]]:
    """Every way of searching in the other cameras, with all that it finds."""
    cameras = sorted({str(item["camera"]) for item in gallery.items})
    travel = [TravelTime(pair, *TRAVEL) for pair in itertools.combinations(cameras, 2)]
    every = {"k": len(gallery), "other_camera": True}
    yield "plain", gallery.search(queries, **every)
    yield "time", [
        gallery.search(queries[i : i + 1], where=Where(after=item["time"] - NEAR, before=item["end_time"] + NEAR),
                       **every)[0]
        for i, item in enumerate(queries.items)
    ]  # fmt: skip
    yield "travel", gallery.search(queries, travel=travel, **every)
    yield "rerank", gallery.search(queries, rerank=True, **every)
    yield "rerank, travel", gallery.search(queries, rerank=True, travel=travel, **every)


def right(query: dict, item: dict) -> bool:
    """Whether a gallery tracklet is one to be found: the query's person in another camera."""
    return item["person"] == query["person"] and item["camera"] != query["camera"]


def scores(answers: Sequence[Sequence[Match]], queries: Embeddings, gallery: Gallery) -> dict[str, float]:
    """mAP and rank-1 over the queries that have something to find."""
    precisions, firsts = [], []
    for query, found in zip(queries.items, answers, strict=True):
        there = sum(right(query, item) for item in gallery.items)
        if not there:
            continue
        ranks = [match.rank - 1 for match in found if right(query, gallery.items[match.row])]
        precisions.append(average_precision(ranks) * len(ranks) / there if ranks else 0.0)
        firsts.append(0 in ranks)
    return {"mAP": statistics.mean(precisions), "rank-1": statistics.mean(firsts)}


def in_a_camera(gallery: Gallery, queries: Embeddings) -> dict[str, float]:
    """Of the pairs of a query and another camera that saw its person: the share whose first match is right."""
    hits: dict[str, list[bool]] = {"plain": [], "camera": []}
    first = gallery.search(queries, 1, other_camera=True)
    for camera in sorted({str(item["camera"]) for item in gallery.items}):
        inside = gallery.search(queries, 1, where=Where(cameras=[camera]))
        seen = {item["person"] for item in gallery.items if item["camera"] == camera}
        for query, best, filtered in zip(queries.items, first, inside, strict=True):
            if query["camera"] != camera and query["person"] in seen:
                hits["plain"].append(best[0].person == query["person"] and best[0].camera == camera)
                hits["camera"].append(filtered[0].person == query["person"])
    return {way: statistics.mean(values) for way, values in hits.items()}


def scene_embeddings(folder: Path, seed: int, weight: str, options: dict) -> Embeddings:
    manifest = write_scenes(folder / str(seed), seed=seed, progress=True, **options)
    return embedded(read_tracklets(manifest), weight, manifest.parent / f".{weight}.safetensors")


def of_scenes(scenes: Sequence[Embeddings]) -> list[dict]:
    parts = joined(scenes)
    gallery = Gallery(Embeddings.concatenate(parts))
    return [
        {
            "tracklets": len(part), "gallery": len(gallery),
            "ways": {way: scores(answers, part, gallery) for way, answers in ways(gallery, part)},
            "in a camera": in_a_camera(gallery, part),
        }
        for part in parts
    ]  # fmt: skip


def spread(values: Sequence[float]) -> str:
    return f"{statistics.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", nargs="*", type=Path, help="labelled embeddings with roles, one file per weight")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--weight", default="stmga_resnet18_c4")
    parser.add_argument("--difficulty", choices=("easy", "medium", "hard"), default="medium")
    parser.add_argument("--folder", type=Path, help="where scenes and vectors are kept (default: a temporary folder)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/search.json"))
    args = parser.parse_args()
    result = json.loads(args.json.read_text()) if args.json.exists() else {}
    rows = []
    for path in args.embeddings:
        embeddings = Embeddings.load(path)
        gain = reranking_gain(embeddings)
        result[embeddings.model] = {"where": where(), "gallery": len(embeddings), "ways": gain}
        rows += [[embeddings.model, way, f"{one['mAP']:.4f}", f"{one['rank-1']:.4f}"] for way, one in gain.items()]
    if args.seeds:
        with tempfile.TemporaryDirectory() as temporary:
            options = {"difficulty": args.difficulty}
            scenes = [
                scene_embeddings(args.folder or Path(temporary), seed, args.weight, options) for seed in args.seeds
            ]
        runs = of_scenes(scenes)
        result["scenes"] = {"where": where(), "weight": args.weight, "difficulty": args.difficulty,
                            "seeds": args.seeds, "runs": runs}  # fmt: skip
        for way in runs[0]["ways"]:
            rows.append(["scenes", way, *(spread([run["ways"][way][f] for run in runs]) for f in ("mAP", "rank-1"))])
        rows += [["scenes", f"in a camera, {way}", None, spread([run["in a camera"][way] for run in runs])]
                 for way in runs[0]["in a camera"]]  # fmt: skip
    print(text_table(["what", "way", "mAP", "rank-1"], rows))
    atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())
    print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
