"""The commands that make data: packs, crops of CUHK03, walkers. Everything heavy is imported when a command runs."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from stmga.cli.options import NAMES, SPLITS, add_max_pixels, add_trust_content
from stmga.cli.parser import command, count
from stmga.utils.text import counted


def add_arguments(commands: Any) -> None:
    """Add these commands to the parser."""
    _add_pack(commands)
    _add_unpack(commands)
    _add_walkers(commands)


def _add_pack(commands: Any) -> None:
    example = """  stmga pack /data/MARS mars.pack
  stmga pack labelled/ labelled.pack --layout "{person}/{camera}/{tracklet}"
  stmga pack tracklets.jsonl tracklets.pack

Killed or out of disk? Run the same command again: it resumes where it stopped."""
    words = "copy the images of a data set into a few large files, which are read faster than a million small ones"
    add = command(commands, "pack", words, example).add_argument
    add("source", metavar="SOURCE", help="a data set in its official layout, a folder of folders of crops, a manifest")
    add("out", metavar="OUT", help="the pack, a new folder; it is a SOURCE for every command that takes a data set")
    add(
        "--dataset", metavar="NAME", default="auto",
        help=f"{NAMES} (default: auto, what it looks like)",
    )  # fmt: skip
    add("--layout", default="{person}/{tracklet}", help='what folders mean (default: "{person}/{tracklet}")')
    add("--split", type=int, default=0, metavar="N", help=f"which split of {SPLITS} (default: 0)")
    add_max_pixels(add)
    add("--shard-mib", type=count, default=256, metavar="N", help="size of the files, in MiB (default: 256)")
    add("--workers", type=count, default=8, metavar="N", help="threads that read ahead (default: 8)")
    add_trust_content(add)
    add("-q", "--quiet", action="store_true", help="no progress bar")


def pack(args: argparse.Namespace) -> None:
    """Images of a data set into shards and a manifest."""
    from stmga.data import load_benchmark
    from stmga.data.packing import pack

    made = load_benchmark(
        args.source, dataset=args.dataset, layout=args.layout, split=args.split, max_pixels=args.max_pixels
    )
    frames = sum(len(tracklet) for part in (made.train, made.query, made.gallery) for tracklet in part)
    parts = f"{len(made.train):,} to train on, {len(made.query):,} queries, {len(made.gallery):,} in the gallery"
    print(f"read      {made.name}: {parts}; {frames:,} frames")
    if made.terms:
        print(f"terms     {made.terms}")
    manifest = pack(
        made, args.out, shard_bytes=args.shard_mib * 1024 * 1024, progress=not args.quiet, workers=args.workers,
        trust_content=args.trust_content,
    )  # fmt: skip
    files = list(manifest.parent.glob("shard-*.bin"))
    size = sum(file.stat().st_size for file in files)
    print(f"packed    {len(files)} files, {size / 1024**2:,.1f} MiB, in {manifest.parent}")


def _add_unpack(commands: Any) -> None:
    example = """  stmga unpack cuhk03/
  stmga eval --data cuhk03/ --dataset cuhk03-labeled --model stmga_resnet18_c4

Stopped? Run the same command again: it keeps the files that are there."""
    words = "write the crops of CUHK03, which are in cuhk-03.mat, as PNG files into its folder"
    add = command(commands, "unpack", words, example).add_argument
    add("folder", metavar="FOLDER", help="with cuhk-03.mat, or cuhk03_release/cuhk-03.mat; gets images_labeled/ "
        'and images_detected/; needs pip install "stmga[mat]"')  # fmt: skip
    add("-q", "--quiet", action="store_true", help="no progress bar")


def unpack(args: argparse.Namespace) -> None:
    """The crops of cuhk-03.mat as files."""
    from stmga.data.datasets.cuhk03_file import unpack_cuhk03

    for boxes, number in unpack_cuhk03(args.folder, progress=not args.quiet).items():
        print(f"unpacked  {number:,} crops, {args.folder}/images_{boxes}")


def _add_walkers(commands: Any) -> None:
    example = """  stmga walkers walkers
  stmga walkers walkers --train-persons 200 --test-persons 100 --cameras 4 --difficulty hard --workers 4
  stmga walkers walkers --train-persons 16 --test-persons 8 --size 64 32 --difficulty easy --occlusion 1
  stmga walkers scenes --scenes --workers 2
  stmga walkers scenes --scenes --cameras 2 --persons 12 --seconds 20 --size 240 320 --seed 1

Stopped? Run the same command again: it resumes where it stopped."""
    words = "render a benchmark of walking figures, or the videos of several cameras with --scenes; nothing to download"
    parser = command(commands, "walkers", words, example)
    add = parser.add_argument
    add("out", metavar="OUT", help="a new folder; OUT/manifest.jsonl is a SOURCE for every command that takes data")
    add("--cameras", type=int, metavar="N", help="how many (default: 3, with --scenes 4)")
    add("--size", type=int, nargs=2, metavar=("H", "W"), help="of a crop (default: 128 64), or of the whole picture "
        "with --scenes (default: 360 640)")  # fmt: skip
    add("--difficulty", choices=("easy", "medium", "hard"), default="medium", help="default: medium")
    add("--occlusion", type=float, metavar="P", help="instead: chance that something hides a walker, 0 to 1")
    add(
        "--similar-clothes", type=float, metavar="P", help="instead: chance that a garment is one that all wear, 0 to 1"
    )
    add("--seed", type=int, default=0, metavar="N", help="of the population and the cameras (default: 0)")
    add("--workers", type=int, default=0, metavar="N", help="processes that render (default: 0, this one)")
    add("-q", "--quiet", action="store_true", help="no progress bar")
    add = parser.add_argument_group("crops of single persons, in roles").add_argument
    add("--train-persons", type=int, metavar="N", help="persons to train on (default: 64)")
    add("--test-persons", type=int, metavar="N", help="other persons, to be found (default: 32)")
    add("--distractors", type=int, metavar="N", help="more persons in the gallery (default: 0)")
    add("--tracklets", type=int, metavar="N", help="of each person in each camera (default: 2)")
    add("--frames", type=int, nargs="+", metavar="N", help="of a tracklet, or least and most (default: 8)")
    add("--shift", type=float, metavar="S", help="instead of that of --difficulty: how far boxes are off, 0 to 1")
    add = parser.add_argument_group("videos of fixed cameras").add_argument
    add("--scenes", action="store_true", help="people who cross, hide each other, leave and return, with true boxes; "
        'needs pip install "stmga[video]"')  # fmt: skip
    add("--persons", type=int, metavar="N", help="how many walk about (default: 30)")
    add("--seconds", type=float, metavar="S", help="length of each video (default: 60)")
    add("--fps", type=int, metavar="N", help="frames per second (default: 12)")


ONLY_CROPS = ("train_persons", "test_persons", "distractors", "tracklets", "frames", "shift")
ONLY_SCENES = ("persons", "seconds", "fps")


def walkers(args: argparse.Namespace) -> None:
    """Rendered walkers: crops, or the videos of several cameras."""
    wrong = [name for name in (ONLY_CROPS if args.scenes else ONLY_SCENES) if getattr(args, name) is not None]
    if wrong:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wrong)
        raise ValueError(f"{flags} cannot be used with --scenes" if args.scenes else f"{flags}: add --scenes")
    (_scenes if args.scenes else _crops)(args)


def _crops(args: argparse.Namespace) -> None:
    from stmga.data.walkers.generate import write_benchmark

    frames = args.frames or [8]
    if len(frames) > 2:
        raise ValueError(f"--frames takes one number, or least and most, got {len(frames)}")
    manifest = write_benchmark(
        args.out, **_given(args, "train_persons", "test_persons", "distractors", "cameras", "tracklets", "size"),
        frames=frames[0] if len(frames) == 1 else tuple(frames), difficulty=_difficulty(args), seed=args.seed,
        workers=args.workers, progress=not args.quiet,
    )  # fmt: skip
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    roles = Counter(row["role"] for row in rows)
    parts = f"{roles['train']:,} to train on, {roles['query']:,} queries, {roles['gallery']:,} in the gallery"
    print(f"walkers   {len(rows):,} tracklets, {sum(len(row['frames']) for row in rows):,} frames: {parts}")
    print(f"written   {manifest}")
    task = f"train --data {manifest} --recipe cpu -o runs/walkers" if roles["train"] else f"embed {manifest}"
    print(f"next      stmga {task}")


def _scenes(args: argparse.Namespace) -> None:
    from stmga.data.walkers.footage import write_scenes

    manifest = write_scenes(
        args.out, **_given(args, "cameras", "persons", "seconds", "fps", "size"), difficulty=_difficulty(args),
        seed=args.seed, workers=args.workers, progress=not args.quiet,
    )  # fmt: skip
    rows = [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]
    seen, cameras = {row["person"] for row in rows}, sorted(manifest.parent.glob("cam*.mp4"))
    counts = counted(len(cameras), "camera"), counted(len(seen), "person"), counted(len(rows), "tracklet")
    print("scenes    {}, {} in {}".format(*counts))
    print(f"written   {manifest.parent}: cam*.mp4, cam*.txt (true boxes), {manifest.name}")
    print(f"next      stmga people {manifest.parent}/cam*.mp4 -o who")


def _given(args: argparse.Namespace, *names: str) -> dict[str, Any]:
    """The arguments that were typed; the library has the defaults of the others."""
    found = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


def _difficulty(args: argparse.Namespace) -> Any:
    from dataclasses import replace

    from stmga.data.walkers.spec import DIFFICULTIES

    return replace(DIFFICULTIES[args.difficulty], **_given(args, "occlusion", "shift", "similar_clothes"))


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"pack": pack, "unpack": unpack, "walkers": walkers}
