"""Does reading keep up? Embedding tracklets from JPEG files against the model alone on clips already in memory.

Both do the same number of clips in batches of the same size with the same network, folded and channels last as the
embedder has it, in turns in one run, `--repeats` times. The bar is 92 % of the model-alone speed.

    python -m benchmarks.speed.reading
    python -m benchmarks.speed.reading --architecture stmga_resnet50 --workers 2 --json reading.json
    python -m benchmarks.speed.reading --device cuda --precision bf16 --batch-size 32 --tracklets 2048 --workers 12

On a GPU a third side decodes there. There are files for at most 96 tracklets. More tracklets repeat the same files, as
if read from a warm disk.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import PIL
import torch

from benchmarks.rows import Row, spread_of
from benchmarks.turns import in_turns, where
from stmga.config import ARCHITECTURES
from stmga.embedding.clip_dataset import ClipRows
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.frame_features import FrameFeatures
from stmga.model import STMGA
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.tracklet import Tracklet
from stmga.transforms import ClipTransform

BAR = 0.92
FILES = 96


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    from_jpeg = found["sides"]["from JPEG"]
    spread = spread_of(sorted(1 / q for q in from_jpeg["ratio_quartiles"]))
    model = found["settings"]["architecture"]
    yield Row(f"embedding from JPEG over `{model}` alone, of its speed", found["ratio"], spread, 0.92, least=True)


def main() -> None:
    args = parse()
    torch.manual_seed(0)
    model = STMGA(ARCHITECTURES[args.architecture]).to(args.device).eval()
    config = model.config
    options = dict(batch_size=args.batch_size, precision=args.precision, compile=args.compile)
    embedder = TrackletEmbedder(model, workers=args.workers, **options)
    with tempfile.TemporaryDirectory() as folder:
        files = write_jpegs(Path(folder), min(args.tracklets, FILES), config.clip_length, args.crop)
        tracklets = [Tracklet(f"{i}", files[i % len(files)].frames) for i in range(args.tracklets)]
        batch = torch.rand(
            min(args.batch_size, args.tracklets), config.clip_length, 3, *config.size, device=args.device
        )
        network, order = embedder._network(model.digest()), list(range(config.clip_length))
        clips = [ClipRows(i, order, order) for i in range(args.batch_size)]

        def alone() -> None:
            for start in range(0, args.tracklets, args.batch_size):
                size = min(args.batch_size, args.tracklets - start)
                frames, known = batch[:size].flatten(0, 1), FrameFeatures([1] * size, config.clip_length)
                network.forward_head(embedder._features([frames], clips[:size], {}, [known], network).to(args.device))

        sides = {"model alone": alone, "from JPEG": lambda: embedder(tracklets)}
        if args.device.startswith("cuda"):
            there = TrackletEmbedder(model, workers=args.workers, decode="device", **options)
            sides["from JPEG, there"] = lambda: there(tracklets)
        found = in_turns(sides, args.repeats, warm_up=1)  # the clock runs to the last copy to the CPU, on a GPU too
        reading = read_cost(files, ClipTransform.from_config(config))
    report(args, found, reading)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", default="stmga_resnet18_c4", choices=sorted(ARCHITECTURES))
    parser.add_argument("--tracklets", type=int, default=48, help="of one clip each (48)")
    parser.add_argument("--crop", type=int, nargs=2, default=(128, 64), metavar=("H", "W"), help="size of the files")
    parser.add_argument("--batch-size", type=int, default=4, help="clips at once (4)")
    parser.add_argument("--workers", type=int, default=0, help="processes that read (0: none but this one)")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    return parser.parse_args()


def write_jpegs(folder: Path, count: int, frames: int, crop: tuple[int, int]) -> list[Tracklet]:
    """Rendered walkers as JPEG crops, `count` tracklets of `frames` frames."""
    from stmga.data.walkers.render import write_walkers

    persons = -(-count // 2)
    manifest = write_walkers(folder / "walkers", persons, cameras=2, frames=frames, size=(crop[0], crop[1]))
    return read_manifest(manifest)[:count]


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


def report(args: argparse.Namespace, found: dict[str, dict], reading: dict[str, float]) -> None:
    ratio = 1 / found["from JPEG"]["ratio"]
    frames = ARCHITECTURES[args.architecture].clip_length
    machine = f"{where(args.device)}, pillow {PIL.__version__}"
    print(
        f"{args.architecture}, {args.tracklets} tracklets of one clip, crops {args.crop[0]} x {args.crop[1]}, ", end=""
    )
    print(f"batches of {args.batch_size}, {args.workers} workers, median of {args.repeats}")
    print(f"{machine}\n\n{'':14}{'s':>8}{'clips/s':>10}{'frames/s':>10}{'quartiles':>14}")
    for name, row in found.items():
        clips = args.tracklets / row["seconds"]
        spread = "-".join(f"{s:.2f}" for s in row["seconds_quartiles"])
        print(f"{name:14}{row['seconds']:8.2f}{clips:10.1f}{clips * frames:10.1f}{spread:>14}")
    print(f"\na clip: decode {reading['decode_ms']:.1f} ms, transform {reading['transform_ms']:.1f} ms, ", end="")
    print(f"model {1e3 * found['model alone']['seconds'] / args.tracklets:.1f} ms")
    print(f"from JPEG keeps {ratio:.1%} of the model-alone speed ({'meets' if ratio >= BAR else 'misses'} {BAR:.0%})")
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        result = {"where": machine, "settings": settings, "sides": found, "ratio": ratio, **reading}
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
