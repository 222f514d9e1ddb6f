"""Adaptation without labels: what it brings on the same people and on others, and what each ingredient brings.

    python -m benchmarks.accuracy.adaptation DATA -o runs/adaptation --seeds 0 1 2
    python -m benchmarks.accuracy.adaptation DATA -o runs/adaptation --ways all "no singles" "only norms"
    python -m benchmarks.accuracy.adaptation DATA -o runs/adaptation --site market --from runs/cuhk03_alone/larger/last
    python -m benchmarks.accuracy.adaptation DATA -o runs/adaptation --from runs/cuhk03_alone/larger/last
    python -m benchmarks.accuracy.adaptation DATA -o runs/small --persons 30 --set rounds=2 --set steps=3

DATA is the folder that `benchmarks.tools.research_data` unpacks. The site is one half of the identities of mars8-dev
(every other one in order of their numbers, as in `benchmarks.accuracy.fine_tuning`), of market1501-867, or rendered
scenes. `stmga adapt` gets their tracklets without labels. Market has times: its crops are cut into stays, and frames
with equal numbers of one camera and sequence are of one moment. mars8-dev has none. The published weights were trained
on the identities of market: give that site another start with --from, such as the network of CUHK03 alone.

For every way and seed, the network after every round is scored with labels on the other half, to compare with the score
that needs none: mixed with the start, without a whitening layer. The kept weights are also scored on the site's own
people, and on what the network could before: rendered walkers, and the 100 CUHK03 identities that no training sees.
Figures are in percent, of up to 8 frames of each tracklet, cosine. A start without a calibration, such as a run, is
calibrated on those 100 first.
Finished runs and scores in FOLDER are kept: the same command resumes. Results join those of other ways and seeds in
benchmarks/results/adaptation.json.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.accuracy.adaptation_sites import SITES, SiteData, Test, forgotten
from benchmarks.turns import where
from stmga import STMGA, TrackletEmbedder
from stmga.cli.options import trained
from stmga.data import load_benchmark
from stmga.metrics import calibrate, evaluate
from stmga.tracklets.preload import preload
from stmga.tracklets.split import evenly
from stmga.train import AdaptConfig
from stmga.train.adaptation.blend import averaged, blended
from stmga.train.adaptation.folder import AdaptFolder
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

WAYS = {
    "all": [],
    "no singles": ["singles=false"],
    "no times": ["times=false"],
    "any cameras": ["mix_cameras=false"],
    "no teacher": ["teacher=0"],
    "no start": ["start_share=0"],
    "only norms": ["only_norms=true"],
}
FRAMES = 8  # of a tracklet that are embedded: all that those of mars8-dev have


def scored(model: STMGA, test: Test, kept: Path, precision: str) -> dict[str, float]:
    """The scores of a network, in percent; read from the folder ``kept`` if it was scored before."""
    file = kept / f"{model.digest()[:16]}-{precision}-{test.manifest.parent.name}-{test.manifest.stem}.json"
    if not file.is_file():
        data = load_benchmark(test.manifest, holdout=0.0 if test.roles else 1.0)
        embedder = TrackletEmbedder(model, precision=precision)
        query, gallery = (preload([evenly(t, FRAMES) for t in side]) for side in (data.query, data.gallery))
        found = evaluate(embedder(query), embedder(gallery), data.protocol)
        kept.mkdir(parents=True, exist_ok=True)
        scores = {"mAP": round(100 * found.mAP, 2), "rank-1": round(100 * found.rank(1), 2)}
        atomic_write(file, json.dumps(scores).encode())
    return json.loads(file.read_text())


def with_calibration(weight: str, held: Path, folder: Path) -> str:
    """The weight; if it has no calibration, ``folder`` with a copy that has one, measured on ``held``."""
    model, _ = trained(weight)
    if model.record and model.record.calibration:
        return weight
    if not (folder / "config.json").is_file():
        data = load_benchmark(held)
        labelled = TrackletEmbedder(model)(preload([evenly(t, FRAMES) for t in (*data.query, *data.gallery)]))
        model.save_pretrained(folder, record=replace(model.record, calibration=calibrate(labelled)))
    return str(folder)


def adapted(site: Path, run: Path, weight: str, seed: int, precision: str, settings: Iterable[str]) -> float:
    """Run the command as a user would; its CPU seconds, of this call."""
    words = ["adapt", str(site), "--from", weight, "-o", str(run), "--seed", str(seed), "--precision", precision, "-q"]
    words += [word for setting in settings for word in ("--set", setting)]
    print("\n$ stmga", *words, flush=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "stmga", *words], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(
    data: SiteData, before: dict[str, Test], run: Path, weight: str, seed: int, precision: str, settings: Sequence[str]
) -> dict[str, object]:
    """One run: the score without labels and the true one of every round, and all scores of start and result."""
    done = (run / "best").is_dir()
    seconds = adapted(data.manifest, run, weight, seed, precision, settings)
    if not done:
        atomic_write(run / "cpu.json", json.dumps(round(seconds)).encode())
    rows = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    start, kept = trained(weight)[0], run.parent / "scores"
    share = AdaptConfig.from_dict(json.loads((run / "adapt.json").read_text())["config"]).kept_of_start
    networks = {0: start} | {
        row["round"]: blended(start, averaged(start, AdaptFolder(run).networks(row["round"])), share)
        for row in rows[1:]
        if "score" in row
    }
    rounds = [
        {"round": number, "score": rows[number]["score"], **scored(model, data.tests["other"], kept, precision),
         **{what: rows[number].get(what) for what in ("agreement", "silhouette", "margin", "identities")}}
        for number, model in networks.items()
    ]  # fmt: skip
    best = max(rounds, key=lambda row: (row["score"], -row["round"]))["round"]
    tests = data.tests | before
    kept_weights = STMGA.from_pretrained(run / "best") if best else start
    return {
        "seed": seed, "best": best, "rounds": rounds, "stopped": rows[-1].get("stopped", ""),
        "cpu_seconds": json.loads((run / "cpu.json").read_text()),
        "wall_seconds": round(sum(sum(row.get("seconds", {}).values()) for row in rows)),
        "missed": round(max(row["mAP"] for row in rounds) - rounds[best]["mAP"], 2),
        "start": {name: scored(start, test, kept, precision) for name, test in tests.items()},
        "kept": {name: scored(kept_weights, test, kept, precision) for name, test in tests.items()},
    }  # fmt: skip


def joined(known: Iterable[dict], new: Iterable[dict]) -> list[dict]:
    """Runs in order of their seeds; a new one replaces the known one of its seed."""
    by_seed = {run["seed"]: run for run in known} | {run["seed"]: run for run in new}
    return [by_seed[seed] for seed in sorted(by_seed)]


def table(runs: dict[str, list[dict]]) -> str:
    """Gains in mAP by way, mean and range over the seeds."""
    tests = list(next(iter(runs.values()))[0]["kept"])
    rows = []
    for way, every in runs.items():
        row = [way]
        for test in tests:
            gains = [run["kept"][test]["mAP"] - run["start"][test]["mAP"] for run in every]
            row.append(f"{statistics.mean(gains):+.2f} ({min(gains):+.2f} to {max(gains):+.2f})")
        row.append(f"{max(run['missed'] for run in every):.2f}")
        row.append(f"{statistics.mean(run['cpu_seconds'] for run in every):.0f}")
        rows.append(row)
    return text_table(["way", *(f"mAP, {test}" for test in tests), "missed at most", "CPU s"], rows)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="the folder of the unpacked sets; not read for --site scenes")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FOLDER", help="outside of the repository")
    parser.add_argument("--site", choices=SITES, default="mars8")
    parser.add_argument("--from", dest="weight", default="stmga_resnet18_c4", help="default: stmga_resnet18_c4")
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["all"], metavar="WAY", help=", ".join(WAYS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="a run of each way (default: 0)")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of training and scoring")
    parser.add_argument("--persons", type=int, help="only so many of each half, for a rehearsal")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/adaptation.json"))
    return parser.parse_args()


def main() -> None:
    args = arguments()
    out = args.out / args.site
    data = SITES[args.site](args.data, out / "data", args.persons)
    before = forgotten(args.data, args.out)
    weight = "-".join(Path(args.weight).parts[-3:])
    start = with_calibration(args.weight, args.data / "cuhk03-held-soft" / "index.jsonl", args.out / "starts" / weight)
    runs: dict[str, list[dict]] = {}
    for way in args.ways:
        for seed in args.seeds:
            run = out / f"{way} {weight} {seed}".replace(" ", "-")
            found = measured(data, before, run, start, seed, args.precision, [*args.settings, *WAYS[way]])
            runs.setdefault(way, []).append(found)
            print(json.dumps(found), flush=True)
    result = json.loads(args.json.read_text()) if args.json.exists() else {}
    key = f"{args.site}, {weight}"
    if args.precision != "fp32":
        key += f", {args.precision}"
    if args.persons or args.settings:
        key += f", persons {args.persons or 'all'}, {' '.join(args.settings)}"
    known = result.get(key, {}).get("ways", {})
    ways = known | {way: joined(known.get(way, []), every) for way, every in runs.items()}
    result[key] = {"where": where(), "ways": ways}
    atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())
    print(f"\n{table(ways)}\nwrote {args.json}")


if __name__ == "__main__":
    main()
