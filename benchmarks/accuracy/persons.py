"""Search for persons beside search for tracklets, and whom `assign` knows, on labelled embeddings.

    python -m benchmarks.accuracy.persons vectors/small.safetensors vectors/flagship.safetensors

EMBEDDINGS are labelled, as `stmga embed mars8-dev/index.jsonl` makes them. Every draw is repeated with --seeds seeds;
figures are means over the draws, with the least and the greatest in the JSON.

Search: a random half of each person's tracklets is enrolled, the other half are queries. It is measured twice: against
all enrolled tracklets, and without those of the query's own camera. There, tracklets of an unknown camera stay, and
queries of persons who were enrolled in no other camera do not count.
- `tracklets`: `Gallery.search`; AP over all tracklets of the person
- `best`, `mean`, `robust`: `Gallery.search_persons`; one person is right, so AP is 1 / rank. It is no AP of tracklets:
  compare it between the three only. By definition, rank-1 of `best` is rank-1 of `tracklets`.

Assign: a third of the persons is enrolled with half of their tracklets, a third are strangers, and the last third gives
the calibration. Queries are the other half of the enrolled persons and all tracklets of the strangers.

Results join benchmarks/results/persons.json, one entry per weight.
"""

import argparse
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.turns import where
from stmga import Embeddings, Gallery
from stmga.metrics import calibrate
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

HOW = ("best", "mean", "robust")
CAMERAS = {"all cameras": False, "other cameras": True}
RATES = (1e-2, 1e-4)  # of "new" and "known", the defaults of `assign`
VERDICTS = ("known, right", "known, wrong", "unsure", "new")
Figures = dict[str, float]


def enrolled(embeddings: Embeddings, dice: np.random.Generator) -> tuple[Embeddings, Embeddings]:
    """A random half of each person's tracklets, of an odd number the smaller part but at least one; and the others."""
    persons = np.array([str(person) for person in embeddings.persons])
    chosen = np.zeros(len(persons), bool)
    for person in np.unique(persons):
        rows = dice.permutation(np.flatnonzero(persons == person))
        chosen[rows[: max(1, len(rows) // 2)]] = True
    return embeddings.select(chosen), embeddings.select(~chosen)


def scores(hits: Sequence[Sequence[bool]]) -> Figures:
    """Of ranked answers, True where one is right: rank-1, rank-5 and mAP over the queries that have a right one."""
    counted = [np.flatnonzero(row) + 1 for row in hits if any(row)]
    precisions = [float(np.mean(np.arange(1, len(ranks) + 1) / ranks)) for ranks in counted]
    return {
        "rank-1": statistics.fmean(ranks[0] == 1 for ranks in counted),
        "rank-5": statistics.fmean(ranks[0] <= 5 for ranks in counted),
        "mAP": statistics.fmean(precisions),
        "queries": len(counted),
    }


def searched(embeddings: Embeddings, seed: int) -> dict[str, dict[str, Figures]]:
    """One draw of both settings and all ways."""
    part, queries = enrolled(embeddings, np.random.default_rng(seed))
    gallery, wanted = Gallery(part), [str(person) for person in queries.persons]
    found: dict[str, dict[str, Figures]] = {}
    for name, other in CAMERAS.items():
        _, rows = gallery.topk(queries, len(gallery), other_camera=other)
        persons = [str(person) for person in part.persons]
        ways = {"tracklets": [[persons[i] for i in row if i >= 0] for row in rows.tolist()]}
        for how in HOW:
            answers = gallery.search_persons(queries, len(gallery), how=how, other_camera=other)
            ways[how] = [[match.person for match in row] for row in answers]
        found[name] = {
            way: scores([[person == right for person in row] for row, right in zip(rows, wanted, strict=True)])
            for way, rows in ways.items()
        }
    return found


def thirds(embeddings: Embeddings, dice: np.random.Generator) -> list[Embeddings]:
    """Three parts with a third of the persons each."""
    order = dice.permutation(sorted({str(person) for person in embeddings.persons}))
    parts = [set(part) for part in np.array_split(order, 3)]
    return [embeddings.select([str(person) in part for person in embeddings.persons]) for part in parts]


def assigned(embeddings: Embeddings, seed: int) -> dict[str, dict[str, Figures]]:
    """One draw: by way and kind of query, the share of each verdict."""
    dice = np.random.default_rng(seed)
    known, strangers, others = thirds(embeddings, dice)
    part, again = enrolled(known, dice)
    gallery = Gallery(replace(part, calibration=calibrate(others, false_match_rates=RATES)))
    return {
        how: {"enrolled persons": verdicts(gallery, again, how), "strangers": verdicts(gallery, strangers, how)}
        for how in HOW
    }


def verdicts(gallery: Gallery, queries: Embeddings, how: str) -> Figures:
    """The share of each verdict."""
    found = []
    for one, person in zip(gallery.assign(queries, how=how), queries.persons, strict=True):
        right = "right" if one.person == str(person) else "wrong"
        found.append(f"known, {right}" if one.verdict == "known" else one.verdict)
    return {verdict: found.count(verdict) / len(found) for verdict in VERDICTS}


def over_draws(draws: Sequence[dict]) -> dict:
    """Mean, least and greatest of each figure."""
    first = draws[0]
    return {
        key: over_draws([draw[key] for draw in draws])
        if isinstance(first[key], dict)
        else {"mean": statistics.fmean(v := [d[key] for d in draws]), "least": min(v), "greatest": max(v)}
        for key in first
    }


def search_rows(name: str, search: dict) -> Iterator[list[str]]:
    """Rows for a table."""
    for cameras, ways in search.items():
        for way, row in ways.items():
            yield [name, cameras, way, *(f"{100 * row[key]['mean']:.1f}" for key in ("rank-1", "rank-5", "mAP"))]


def assign_rows(name: str, assign: dict) -> Iterator[list[str]]:
    """Rows for a table."""
    for how, kinds in assign.items():
        for kind, row in kinds.items():
            yield [name, how, kind, *(f"{100 * row[key]['mean']:.1f}" for key in VERDICTS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", nargs="+", type=Path, help="labelled embeddings, one file per weight")
    parser.add_argument("--seeds", type=int, default=5, help="draws (default: 5)")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/persons.json"))
    args = parser.parse_args()
    result = json.loads(args.json.read_text()) if args.json.exists() else {}
    tables: tuple[list[list[str]], list[list[str]]] = [], []
    for path in args.embeddings:
        embeddings = Embeddings.load(path)
        search = over_draws([searched(embeddings, seed) for seed in range(args.seeds)])
        assign = over_draws([assigned(embeddings, seed) for seed in range(args.seeds)])
        result[embeddings.model] = {
            "where": where(), "tracklets": len(embeddings), "seeds": args.seeds, "search": search, "assign": assign,
        }  # fmt: skip
        tables[0].extend(search_rows(embeddings.model, search))
        tables[1].extend(assign_rows(embeddings.model, assign))
        atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())
    print(text_table(["weight", "gallery", "search", "rank-1", "rank-5", "mAP"], tables[0]))
    print(text_table(["weight", "how", "queries", *VERDICTS], tables[1]))
    print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
