"""Does a pack read faster than loose files? Frames a second of the same small JPEGs, loose and packed, in one run.

Random clips of 8 frames are loaded as training does, in turn from the loose files and from the pack, `--repeats` times;
the medians count. The files were written just before, so the cache is warm: it measures the cost of opening files, not
of the disk. `raw` is the bytes alone, `decoded` the pixels. With `--scale N` it also times reading a manifest of N
packed frames and one of as many loose ones.

    python -m benchmarks.speed.packing
    python -m benchmarks.speed.packing --tracklets 4000 --frames 60 --scale 1000000 --json packing.json
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from stmga.data import load_benchmark, pack
from stmga.tracklets.images import read_span
from stmga.tracklets.manifest import read_manifest, write_manifest
from stmga.tracklets.tracklet import Frame, Tracklet

CLIP = 8


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        root = Path(folder)
        loose = write_jpegs(root / "loose", args.tracklets, args.frames, args.crop)
        start = time.perf_counter()
        manifest = pack(loose, root / "pack")
        seconds = {"pack": time.perf_counter() - start}
        packed = load_benchmark(manifest.parent).train
        size = sum(file.stat().st_size for file in manifest.parent.glob("shard-*.bin"))
        found = rates(loose, packed, args.clips, args.repeats)
        if args.scale:
            seconds |= scale(root, args.scale)
    report(args, found, seconds, size)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=int, default=1000)
    parser.add_argument("--frames", type=int, default=30, help="of each tracklet (default: 30)")
    parser.add_argument("--crop", type=int, nargs=2, default=(128, 64), metavar=("H", "W"))
    parser.add_argument("--clips", type=int, default=1000, help="random clips of 8 frames in a round (default: 1000)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--scale", type=int, default=0, metavar="N", help="also time manifests of N frames")
    parser.add_argument("--folder", help="where the files are written and removed (default: the temporary folder)")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def write_jpegs(folder: Path, tracklets: int, frames: int, size: Sequence[int]) -> list[Tracklet]:
    """Blurred noise: about as many bytes as crops of people have."""
    rng = np.random.default_rng(0)
    height, width = size
    made = []
    for number in range(tracklets):
        own = folder / f"{number % 1000:04d}" / f"{number:06d}"
        own.mkdir(parents=True)
        files = []
        for i in range(frames):
            coarse = rng.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8)
            files.append(own / f"{i:04d}.jpg")
            Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).save(files[-1], quality=90)
        made.append(Tracklet(str(number), files, number % 100))
    return made


def rates(loose: list[Tracklet], packed: list[Tracklet], clips: int, repeats: int) -> dict[str, dict[str, float]]:
    """Median frames a second, of bytes and of pixels; the two sources in turn, the same clips for both."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        rng = np.random.default_rng(repeat)
        plan = [(int(n), rng.integers(0, len(loose[n]), CLIP).tolist()) for n in rng.integers(0, len(loose), clips)]
        for what, read in (("raw", raw), ("decoded", decoded)):
            for name, tracklets in (("loose", loose), ("packed", packed)):
                start = time.perf_counter()
                for number, places in plan:
                    read(tracklets[number], places)
                if repeat:  # the first warms up
                    seconds.setdefault((what, name), []).append(time.perf_counter() - start)
    return {
        what: {name: clips * CLIP / statistics.median(seconds[what, name]) for name in ("loose", "packed")}
        for what in ("raw", "decoded")
    }


def raw(tracklet: Tracklet, places: list[int]) -> None:
    for i in places:
        frame = tracklet.frames[i]
        if frame.span is None:
            frame.file.read_bytes()
        else:
            read_span(frame.file, frame.span)


def decoded(tracklet: Tracklet, places: list[int]) -> None:
    tracklet.load(places)


def scale(root: Path, frames: int) -> dict[str, float]:
    """Seconds to read a manifest of so many frames, packed and loose, no file looked at."""
    each = 60
    shard, files = root / "shard-00000.bin", [root / f"{i:05d}.jpg" for i in range(each)]
    spans = tuple(Frame(shard, None, None, (2500 * i, 2500)) for i in range(each))
    seconds = {}
    for name, part in (("packed", spans), ("loose", tuple(Frame(file) for file in files))):
        path = root / f"{name}.jsonl"
        write_manifest([Tracklet(str(n), part, n % 600) for n in range(frames // each)], path)
        seconds[f"manifest, {name}"] = timed(lambda path=path: read_manifest(path, check_files=False))
    return seconds


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def report(args: argparse.Namespace, found: dict[str, dict[str, float]], seconds: dict[str, float], size: int) -> None:
    frames = args.tracklets * args.frames
    where = f"{platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}"
    print(f"{where}; {frames:,} JPEGs, {size / frames:,.0f} bytes each")
    for what, rate in found.items():
        loose, packed = rate["loose"], rate["packed"]
        print(f"{what:8} loose {loose:9,.0f} frames/s   packed {packed:9,.0f} frames/s   {packed / loose:.2f} x")
    for name, value in seconds.items():
        of = f"{frames:,} frames" if name == "pack" else f"{args.scale:,} frames"
        print(f"{name}: {value:.2f} s for {of}")
    if args.json:
        text = json.dumps(
            {"where": where, "frames": frames, "bytes": size, "rates": found, "seconds": seconds}, indent=2
        )
        Path(args.json).write_text(text + "\n")


if __name__ == "__main__":
    main()
