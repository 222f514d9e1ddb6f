"""Who is who in rendered scenes: IDF1 over all cameras, by the code of `trackeval`.

    python -m benchmarks.accuracy.scenes --seeds 0 1 2

For each seed, `write_scenes` renders 4 cameras, 30 persons and a minute (or FOLDER/SEED is used if it is there). The
true tracklets are embedded, a shipped weight reads up to 32 frames of each, and `stmga.link` with default settings
gives them identities. The cameras are joined into one sequence, one after the other, so that an identity counts as
right only if it is the same person in all cameras.

- `link`: as described
- `apart`: every tracklet is a person of its own, what a tracker within single cameras gives
- `truth`: the true persons; it must be 1

The truth has the frames in which at least half of the person is seen: those that the true tracklets have. IDF1, IDP
and IDR are `trackeval.metrics.Identity`, HOTA is `trackeval.metrics.HOTA`, both on boxes with an IoU of 0.5 or more.

Results are written to benchmarks/results/scenes.json.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import trackeval

from benchmarks.turns import where
from stmga import Embeddings, Tracklet, TrackletEmbedder, create_model, link, read_tracklets
from stmga.data import write_scenes
from stmga.data.walkers.truth import SEEN
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

Line = tuple[int, int, str]  # frame from 1, id, the other columns of MOT

FIGURES = ("IDF1", "IDP", "IDR", "HOTA")
FRAMES = 32  # of a tracklet that are embedded


def score(truth: Mapping[str, Iterable[Line]], found: Mapping[str, Iterable[Line]], frames: int) -> dict[str, float]:
    """Scores of MOT lines by camera, with the ids of one camera meaning the same in all others; 0..1.

    Args:
        truth, found: lines of each camera. Those of the truth with confidence 0 are not counted.
        frames: length of each video.
    """
    with tempfile.TemporaryDirectory() as root:
        for name, lines in (("truth/all/gt/gt.txt", truth), ("found/ours/data/all.txt", found)):
            file = Path(root, name)
            file.parent.mkdir(parents=True)
            with file.open("w") as text:
                for place, camera in enumerate(sorted(truth)):
                    for frame, number, rest in lines.get(camera, ()):
                        text.write(f"{place * frames + frame},{number},{rest}\n")
        quiet = {"PRINT_CONFIG": False}
        with contextlib.redirect_stdout(io.StringIO()):
            data = trackeval.datasets.MotChallenge2DBox({
                "GT_FOLDER": f"{root}/truth", "TRACKERS_FOLDER": f"{root}/found", "TRACKERS_TO_EVAL": ["ours"],
                "SKIP_SPLIT_FOL": True, "SEQ_INFO": {"all": len(truth) * frames}, **quiet,
            })  # fmt: skip
            once = data.get_preprocessed_seq_data(data.get_raw_seq_data("ours", "all"), "pedestrian")
            identity = trackeval.metrics.Identity(quiet).eval_sequence(once)
            hota = trackeval.metrics.HOTA().eval_sequence(once)
    return {**{name: float(identity[name]) for name in ("IDF1", "IDP", "IDR")}, "HOTA": float(hota["HOTA"].mean())}


def true_lines(folder: Path) -> dict[str, list[Line]]:
    """The truth of every camera; boxes that show less than half of a person have confidence 0."""
    found = {}
    for file in sorted(folder.glob("cam*.txt")):
        cells = [line.split(",") for line in file.read_text().splitlines()]
        found[file.stem] = [
            (int(c[0]), int(c[1]), ",".join([*c[2:6], str(int(float(c[8]) >= SEEN)), *c[7:]])) for c in cells
        ]
    return found


def lines_of(tracklets: Sequence[Tracklet], identities: Sequence[int]) -> dict[str, list[Line]]:
    """MOT lines of every camera, with identities as ids."""
    found: dict[str, list[Line]] = {}
    for tracklet, identity in zip(tracklets, identities, strict=True):
        for frame in tracklet.frames:
            box = ",".join(f"{value:g}" for value in frame.box)
            found.setdefault(str(tracklet.camera), []).append((frame.index + 1, identity, f"{box},1,-1,-1,-1"))
    return found


def embedded(manifest: Path, weight: str) -> tuple[list[Tracklet], Embeddings]:
    """The true tracklets, and vectors of up to `FRAMES` of their frames, evenly spaced; kept beside the manifest."""
    tracklets = read_tracklets(manifest)
    file = manifest.with_name(f".{weight}.safetensors")
    if file.exists():
        return tracklets, Embeddings.load(file)
    few = [replace(t, frames=t.frames[:: -(-len(t) // FRAMES)]) for t in tracklets]
    made = TrackletEmbedder(create_model(weight, pretrained=True), progress=True)(few)
    made.save(file)
    return tracklets, made


def ways(tracklets: Sequence[Tracklet], embeddings: Embeddings) -> dict[str, list[int]]:
    """The identities of every way of linking."""
    return {
        "link": [row.identity for row in link(embeddings)],
        "apart": list(range(1, len(tracklets) + 1)),
        "truth": [int(tracklet.person) for tracklet in tracklets],
    }


def wrong(identities: Sequence[int], persons: Sequence[object]) -> dict[str, int]:
    """How identities and persons differ: an identity of several persons, and a person of several identities."""
    both = set(zip(identities, persons, strict=True))
    mixed = sum(count > 1 for count in Counter(identity for identity, _ in both).values())
    split = sum(count > 1 for count in Counter(person for _, person in both).values())
    return {"identities": len(set(identities)), "mixed identities": mixed, "split persons": split}


def measured(folder: Path, seed: int, weight: str, options: Mapping[str, object]) -> dict[str, object]:
    manifest = write_scenes(folder / str(seed), seed=seed, progress=True, **options)
    tracklets, embeddings = embedded(manifest, weight)
    about = json.loads(manifest.with_name("scenes.json").read_text())
    truth, frames = true_lines(manifest.parent), round(about["seconds"] * about["fps"])
    persons = [tracklet.person for tracklet in tracklets]
    found = {}
    for way, identities in ways(tracklets, embeddings).items():
        found[way] = {**score(truth, lines_of(tracklets, identities), frames), **wrong(identities, persons)}
    return {"seed": seed, "tracklets": len(tracklets), "persons": len(set(persons)), "ways": found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weight", default="stmga_resnet18_c4")
    parser.add_argument("--difficulty", choices=("easy", "medium", "hard"), default="medium")
    parser.add_argument("--folder", type=Path, help="where scenes and vectors are kept (default: a temporary folder)")
    parser.add_argument("--workers", type=int, default=0, help="processes that render")
    parser.add_argument("--json", type=Path, default=Path("benchmarks/results/scenes.json"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        options = {"difficulty": args.difficulty, "workers": args.workers}
        runs = [measured(folder, seed, args.weight, options) for seed in args.seeds]
    table = []
    for way in runs[0]["ways"]:
        for figure in FIGURES:
            values = [run["ways"][way][figure] for run in runs]
            table.append([way, figure, f"{statistics.mean(values):.3f}", f"{min(values):.3f} to {max(values):.3f}"])
    print(text_table(["way", "figure", "mean", "lowest to highest"], table))
    result = json.loads(args.json.read_text()) if args.json.exists() else {}
    result[f"{args.weight}, {args.difficulty}"] = {"where": where(), "runs": runs}
    atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())
    print(f"wrote {args.json}")


if __name__ == "__main__":
    main()
