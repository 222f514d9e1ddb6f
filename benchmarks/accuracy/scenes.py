"""Who is who in rendered scenes: IDF1 over all cameras, by the code of `trackeval`.

    python -m benchmarks.accuracy.scenes --seeds 0 1 2

For each seed, `write_scenes` renders 4 cameras, 30 persons and a minute (or FOLDER/SEED is used if it is there). Up to
8 frames of each tracklet are embedded by a shipped weight, and `stmga.link` gives them identities, with its default
threshold. The cameras are joined into one sequence, one after the other, so that an identity counts as right only if it
is the same person in all cameras. With the true tracklets:

- `link`: the times of the common clock keep apart who is seen at the same time by one camera
- `link, travel`: and nobody is in two cameras within 2 seconds, which the scenes guarantee
- `apart`: every tracklet is a person of its own, what a tracker within single cameras gives
- `truth`: the true persons; it must be 1

And with the tracklets that the detector `motion` and ByteTrack find in the videos:

- `motion, link`, `motion, travel`, `motion, apart`: as above

The truth has the frames in which at least half of the person is seen: those that the true tracklets have. IDF1, IDP
and IDR are `trackeval.metrics.Identity`, HOTA is `trackeval.metrics.HOTA`, both on boxes with an IoU of 0.5 or more.

Results are written to benchmarks/results/scenes.json.
"""

import argparse
import contextlib
import io
import itertools
import json
import statistics
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import trackeval

from benchmarks.turns import where
from stmga import Embeddings, Tracklet, TrackletEmbedder, create_model, link, read_tracklets
from stmga.cli.options import MODEL
from stmga.data import write_scenes
from stmga.data.walkers.truth import SEEN, START
from stmga.embedding.resumable import embed_in_pieces
from stmga.people import TravelTime, track
from stmga.tracklets.preload import preload
from stmga.tracklets.split import evenly
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

Line = tuple[int, int, str]  # frame from 1, id, the other columns of MOT

FIGURES = ("IDF1", "IDP", "IDR", "HOTA")
FRAMES = 8  # of a tracklet that are embedded, as `stmga people` does
TRAVEL = (2.0, 60.0)  # seconds between two cameras


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


def embedded(tracklets: Sequence[Tracklet], weight: str, file: Path) -> Embeddings:
    """Vectors of up to `FRAMES` frames of each tracklet, evenly spaced; kept in a file."""
    if file.exists():
        return Embeddings.load(file)
    made = embed_in_pieces(
        TrackletEmbedder(create_model(weight, pretrained=True), progress=True),
        [evenly(tracklet, FRAMES) for tracklet in tracklets], file, name=weight, load=preload,
    )  # fmt: skip
    assert made is not None
    return made


def tracked(folder: Path) -> list[Tracklet]:
    """What `motion` and ByteTrack find in the videos, on the clock of the scenes."""
    videos = sorted(folder.glob("cam*.mp4"))
    start = datetime.fromtimestamp(START, timezone.utc).isoformat()
    return track(videos, detector="motion", start=[f"{video.stem}={start}" for video in videos], progress=True)


def linked(embeddings: Embeddings) -> dict[str, list[int]]:
    """The identities by the ways of linking that need no truth."""
    cameras = sorted({str(camera) for camera in embeddings.cameras})
    travel = [TravelTime(pair, *TRAVEL) for pair in itertools.combinations(cameras, 2)]
    return {
        "link": [row.identity for row in link(embeddings)],
        "travel": [row.identity for row in link(embeddings, travel=travel)],
        "apart": list(range(1, len(embeddings) + 1)),
    }


def ways(tracklets: Sequence[Tracklet], embeddings: Embeddings) -> dict[str, list[int]]:
    """The identities of the true tracklets, by every way."""
    own = linked(embeddings)
    return {
        "link": own["link"],
        "link, travel": own["travel"],
        "apart": own["apart"],
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
    scene, about = manifest.parent, json.loads(manifest.with_name("scenes.json").read_text())
    tracklets = read_tracklets(manifest)
    embeddings = embedded(tracklets, weight, scene / f".{weight}.safetensors")
    truth, frames = true_lines(scene), round(about["seconds"] * about["fps"])
    persons = [tracklet.person for tracklet in tracklets]
    found = {}
    for way, identities in ways(tracklets, embeddings).items():
        found[way] = {**score(truth, lines_of(tracklets, identities), frames), **wrong(identities, persons)}
    moving = tracked(scene)
    for way, identities in linked(embedded(moving, weight, scene / f".motion-{weight}.safetensors")).items():
        found[f"motion, {way}"] = score(truth, lines_of(moving, identities), frames)
    return {
        "seed": seed, "tracklets": len(tracklets), "motion tracklets": len(moving), "persons": len(set(persons)),
        "ways": found,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--weight", default=MODEL, help=f"default: {MODEL}, that of `stmga people`")
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
