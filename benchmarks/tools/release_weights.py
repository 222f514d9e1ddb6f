"""Make a published weight from a trained network: round to half precision, measure, write record and card.

    python -m benchmarks.tools.release_weights runs/r18/best stmga_resnet18_c4.mine --data mars8-dev/index.jsonl \\
        --command "stmga train --data market1501-867/index.jsonl cuhk03/index.jsonl ... -o runs/r18" \\
        --score ../shared/data/score.py --zip ../shared/data/mars8-dev.zip

writes stmga/weights/NAME/ with model.safetensors, config.json (the record), README.md (the card) and log.jsonl. The
figures are those of the rounded file: mAP and rank-k by the protocol of the data, with 1, 2, 4 and 8 frames a tracklet
and by pair of cameras, thresholds, frames per second on this processor (run it while nothing else computes). With
--elsewhere the card also has figures on other data sets (benchmarks.accuracy.elsewhere). With --score and --zip a
scorer that does not use stmga gets the same vectors, and must agree. It can be run again: the same weights are written
again, others must be better.
"""

import argparse
import ast
import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from benchmarks.accuracy.card_figures import MARS8, Measured, by_camera_pair, by_frames, figures, measure
from benchmarks.accuracy.elsewhere import rows_of
from benchmarks.turns import seconds
from stmga import STMGA, Embeddings, WeightRecord, create_model, hub
from stmga.data import load_benchmark
from stmga.data.benchmark import Benchmark
from stmga.embedding.network import clips_at_once
from stmga.hub.records import BUNDLED, CONFIG_FILE, read_record
from stmga.metrics import Evaluation
from stmga.train.result import stage_of_run
from stmga.train.run_folder import CONFIG as RUN
from stmga.utils.cpu import processor
from stmga.utils.files import write_all
from stmga.zoo import is_name, list_models

TRAINING_DATA = (
    "Market-1501 (15,865 detector crops of the 867 identities that are not MARS test identities) and CUHK03 (14,097 "
    "crops of 1,467 identities), in groups of one person and camera. Nobody of the MARS test set was trained on."
)
TERMS = (
    "research only: trained on Market-1501 and CUHK03, data sets of real people released for research. Not for "
    "products, nor for watching people."
)
LICENCE = "other: research only"
LOG = "log.jsonl"
AGREE = 1e-4  # relative difference of two scorers that is rounding


def rounded(best: Path, name: str) -> STMGA:
    """The network as it will be loaded from a file of half the size; WeightsError for another architecture's."""
    with TemporaryDirectory() as folder:
        create_model(name.partition(".")[0], weights=best).save_pretrained(folder, half=True)
        return STMGA.from_pretrained(folder)


def second_opinion(found: Evaluation, embeddings: Embeddings, scorer: Path, data: Path) -> dict[str, float]:
    """The scores of the same vectors by the data's own scorer; SystemExit if they differ."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "feats.npz")
        np.savez(file, names=np.array(embeddings.ids), feats=embeddings.vectors.numpy())
        command = [sys.executable, scorer, data, file]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    theirs = ast.literal_eval(printed.strip().splitlines()[-1])
    for name, ours in (("mAP", found.mAP), ("rank-1", found.rank(1))):
        if abs(ours - theirs[name]) > AGREE * max(ours, theirs[name]):
            raise SystemExit(f"{name} is {ours:.6f}, but {scorer.name} says {theirs[name]:.6f}: nothing is released")
    return theirs


def speed(model: STMGA, rounds: int = 10) -> dict[str, object]:
    """The network as the embedder runs it, alone: the best of several rounds, others may compute beside it."""
    model = model.cpu().eval().fuse()
    batch = clips_at_once(model.device, model.config.clip_length)
    clips = torch.rand(batch, model.config.clip_length, 3, *model.config.size)
    with torch.inference_mode():
        took = [seconds(lambda: model(clips)) for _ in range(rounds + 1)]
    frames = batch * model.config.clip_length
    shape = " x ".join(map(str, (model.config.clip_length, *model.config.size)))
    what = f"network alone, as the embedder runs it, fp32, {batch} clips of {shape}"
    return {"what": what, "frames/s": round(frames / min(took[1:])), **where()}


def where() -> dict[str, object]:
    """This processor, and how much of it torch uses."""
    return {"processor": processor(), "threads": torch.get_num_threads(), "torch": torch.__version__}


def stages_of(best: Path, logs: Sequence[Path]) -> tuple[dict, ...]:
    """As the record of the last run has them; if it has fewer than there are logs, as the folders of the logs do.

    A run from before records had stages is known by its folder alone. SystemExit where the first stage is missing.
    """
    known = read_record(best).stages
    if len(known) >= len(logs):
        return tuple(dict(row) for row in known)
    rows = []
    for i, log in enumerate(logs):
        run, lines = json.loads((log.parent / RUN).read_bytes()), log.read_text().splitlines()
        start = f"stage {i}" if i else run["started_from"]
        if ", after " in start:
            raise SystemExit(f"{log} is of a run after another one: give the log of every stage, in order, as --log")
        rows.append(stage_of_run(run, json.loads(lines[-1])["epoch"], start))
    return tuple(rows)


def write(model: STMGA, folder: Path, record: WeightRecord, logs: Sequence[Path]) -> WeightRecord:
    """The folder of the weight; SystemExit where it holds better weights already."""
    if (folder / CONFIG_FILE).is_file():
        old = read_record(folder)
        if old.sha256 == record.sha256:  # published or not, these are the same bytes
            record = dataclasses.replace(record, repo_id=old.repo_id, revision=old.revision)
        elif (before := old.metrics[0]["mAP"]) >= (now := record.metrics[0]["mAP"]):
            raise SystemExit(
                f"{folder} has weights of mAP {before}, which stay: these have {now}. Remove that folder first if they "
                "shall take its place all the same"
            )
    log = b"".join(file.read_bytes() for file in logs)
    hub.save(model.cpu(), folder, record=record, half=True)
    write_all({folder / LOG: log})
    return STMGA.from_pretrained(folder).record  # type: ignore[return-value]  # a loaded network has one


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("best", type=Path, metavar="RUN_BEST", help="a saved network: RUN/best or RUN/last")
    add("name", metavar="NAME", help="architecture.tag")
    add("--data", required=True, help="what it is measured on, as for `stmga eval`")
    add("--title", default=MARS8, help="name of the data, for the card")
    add(
        "--command",
        action="append",
        required=True,
        help="training command of a stage; repeat it for every stage, in order",
    )
    add("--log", type=Path, action="append", help="of each stage, in order (default: the one beside RUN_BEST)")
    add("--training-data", default=TRAINING_DATA, help="what all stages were trained on, as text")
    add("--terms", default=TERMS)
    add("--licence", default=LICENCE)
    add("--elsewhere", type=Path, metavar="JSON", help="rows of benchmarks/accuracy/elsewhere.py, for the card")
    add("--spread", default="", help='other seeds, as "3 seeds: mAP 56.8 to 57.4, rank-1 74.9 to 75.6"')
    add("--score", type=Path, help="a second scorer, as score.py ZIP FEATS.npz")
    add("--zip", type=Path, help="the data as the second scorer reads it")
    add("--device", default="cpu")
    add("--workers", type=int, default=0)
    add("--threads", type=int, default=torch.get_num_threads())
    add("--out", type=Path, default=BUNDLED, help="folder of the weights")
    args = parser.parse_args()
    if not is_name(args.name) or "." not in args.name:
        parser.error(f"NAME is architecture.tag, with an architecture of {', '.join(list_models())}; got {args.name!r}")
    if (args.score is None) != (args.zip is None):
        parser.error("--score and --zip belong together")
    return args


def record_of(model: STMGA, benchmark: Benchmark, whole: Measured, args: argparse.Namespace) -> WeightRecord:
    """All that the card says: figures, thresholds, speed, stages, terms."""
    noted = read_record(args.best)
    frames = sum(map(len, [*benchmark.query, *benchmark.gallery]))
    reading = {"what": "with reading and resizing JPEG crops", "frames/s": round(frames / whole.seconds), **where()}
    assert model.record is not None  # it was loaded
    return WeightRecord(
        name=args.name,
        config=model.config,
        sha256=model.record.sha256,
        metrics=(figures(whole.found, args.spread),),
        frames=by_frames(model, benchmark, whole, device=args.device, workers=args.workers),
        camera_pairs=by_camera_pair(whole.query, whole.gallery, benchmark.protocol),
        elsewhere=tuple(rows_of(args.elsewhere)) if args.elsewhere else (),
        calibration=whole.calibration,
        speed=(speed(model), *([reading] if args.device == "cpu" else [])),
        training_data=args.training_data,
        stages=stages_of(args.best, args.log),
        parent="" if noted.parent == args.name else noted.parent,  # not an earlier file of its own
        training_command="\n".join(args.command),
        log=LOG,
        licence=args.licence,
        terms=args.terms,
    )


def main() -> None:
    args = arguments()
    torch.set_num_threads(args.threads)
    args.log = args.log or [args.best.parent / LOG]
    stages_of(args.best, args.log)  # what is wrong with them is said before minutes of work
    benchmark = load_benchmark(args.data)
    benchmark = dataclasses.replace(benchmark, protocol=dataclasses.replace(benchmark.protocol, data=args.title))
    model = rounded(args.best, args.name)
    whole = measure(model, benchmark, device=args.device, workers=args.workers)
    print(whole.found, f"thresholds {whole.calibration.describe()}", sep="\n", flush=True)
    if args.score:
        print(f"{args.score.name}: {second_opinion(whole.found, whole.every, args.score, args.zip)}", flush=True)
    kept = write(model, args.out / args.name, record_of(model, benchmark, whole, args), args.log)
    print(f"wrote {args.out / args.name}: {kept.megabytes}, sha256 {kept.sha256}, {kept.speed[0]}")


if __name__ == "__main__":
    main()
