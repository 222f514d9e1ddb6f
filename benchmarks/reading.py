"""Does reading keep up? Embedding tracklets from JPEG files against the model alone on clips already in memory.

Both do the same number of clips in batches of the same size, in one run, in turn, `--repeats` times; the medians count.
The bar is 85 % of the model-alone speed (issue 2).

    python benchmarks/reading.py
    python benchmarks/reading.py --architecture stmga_resnet50 --workers 2 --json reading.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL
import torch
from turns import processor

import stmga
from stmga.config import ARCHITECTURES
from stmga.embedder import TrackletEmbedder
from stmga.model import STMGA
from stmga.readers import read_manifest
from stmga.tracklets import Tracklet
from stmga.transforms import ClipTransform

BAR = 0.85


def main() -> None:
    args = parse()
    torch.manual_seed(0)
    model = STMGA(ARCHITECTURES[args.architecture]).to(args.device).eval()
    config = model.config
    embedder = TrackletEmbedder(model, batch_size=args.batch_size, workers=args.workers)
    with tempfile.TemporaryDirectory() as folder:
        tracklets = write_jpegs(Path(folder), args.tracklets, config.clip_length, args.crop)
        batch = torch.rand(
            min(args.batch_size, args.tracklets), config.clip_length, 3, *config.size, device=args.device
        )

        def alone() -> None:
            with torch.inference_mode():
                for start in range(0, args.tracklets, args.batch_size):
                    size = min(args.batch_size, args.tracklets - start)
                    model.forward_head(model.encode(batch[:size])).cpu()

        seconds = in_turn({"model alone": alone, "from JPEG": lambda: embedder(tracklets)}, args.repeats)
        reading = read_cost(tracklets, ClipTransform.from_config(config))
    report(args, seconds, reading)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="stmga_resnet18_c4", choices=sorted(ARCHITECTURES))
    parser.add_argument("--tracklets", type=int, default=48, help="of one clip each (48)")
    parser.add_argument("--crop", type=int, nargs=2, default=(128, 64), metavar=("H", "W"), help="size of the files")
    parser.add_argument("--batch-size", type=int, default=4, help="clips at once (4)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read (0: none but this one)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    return parser.parse_args()


def write_jpegs(folder: Path, count: int, frames: int, crop: tuple[int, int]) -> list[Tracklet]:
    """Rendered walkers as JPEG crops, `count` tracklets of `frames` frames."""
    from stmga.data.walkers import write_walkers

    persons = -(-count // 2)
    manifest = write_walkers(folder / "walkers", persons, cameras=2, frames=frames, size=(crop[0], crop[1]))
    return read_manifest(manifest)[:count]


def in_turn(jobs: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each job, each repeat; taking turns, so that a slow minute of the machine hits all of them."""
    for job in jobs.values():
        job()  # warm up
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(repeats):
        for name, job in jobs.items():
            start = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def read_cost(tracklets: list[Tracklet], transform: ClipTransform) -> dict[str, float]:
    """Milliseconds a clip of decoding and of the transform, in this process."""
    decode, resize = [], []
    for tracklet in tracklets:
        start = time.perf_counter()
        frames = tracklet.load()
        middle = time.perf_counter()
        transform(frames)
        decode.append(middle - start)
        resize.append(time.perf_counter() - middle)
    return {"decode_ms": 1e3 * statistics.median(decode), "transform_ms": 1e3 * statistics.median(resize)}


def report(args: argparse.Namespace, seconds: dict[str, list[float]], reading: dict[str, float]) -> None:
    median = {name: statistics.median(times) for name, times in seconds.items()}
    ratio = median["model alone"] / median["from JPEG"]
    frames = ARCHITECTURES[args.architecture].clip_length
    machine = {
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
        "versions": {"stmga": stmga.__version__, "torch": torch.__version__, "pillow": PIL.__version__},
    }
    print(
        f"{args.architecture}, {args.tracklets} tracklets of one clip, crops {args.crop[0]} x {args.crop[1]}, ", end=""
    )
    print(f"batches of {args.batch_size}, {args.workers} workers, median of {args.repeats}")
    print(f"{machine['processor']}, {machine['threads']} threads, {machine['device']}, {machine['versions']}\n")
    print(f"{'':14}{'s':>8}{'clips/s':>10}{'frames/s':>10}{'spread':>14}")
    for name, times in seconds.items():
        clips = args.tracklets / median[name]
        print(f"{name:14}{median[name]:8.2f}{clips:10.1f}{clips * frames:10.1f}{min(times):8.2f}-{max(times):.2f}")
    print(f"\na clip: decode {reading['decode_ms']:.1f} ms, transform {reading['transform_ms']:.1f} ms, ", end="")
    print(f"model {1e3 * median['model alone'] / args.tracklets:.1f} ms")
    print(f"from JPEG keeps {ratio:.1%} of the model-alone speed ({'meets' if ratio >= BAR else 'misses'} {BAR:.0%})")
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        result = {"settings": settings, "machine": machine, "seconds": seconds, "ratio": ratio, **reading}
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
