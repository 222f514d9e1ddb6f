"""What random access to a video costs: pictures by number, against a bare seek by time stamp in a whole file.

    python -m benchmarks.speed.video_access
    python -m benchmarks.speed.video_access --video door.mp4 --pictures 40 --json access.json

Without `--video` it encodes one: H.264 with B-frames, 1280 x 720, a keyframe every 250 pictures. Each side reads the
same pictures, in an order drawn by `--seed`:

    bare seek    seek to the keyframe before by the time stamp, decode on until it comes; checks nothing
    cold         `stmga.tracklets.video.decode`, one call a picture, its index forgotten before the first
    warm         the same, with the index at hand, as for every clip after the first

The bar is twice the bare seek.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from benchmarks.turns import in_turns, table, where
from stmga.tracklets import video
from stmga.tracklets.video_index import video_index

BAR = 2.0


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        file = args.video or encoded(Path(folder) / "made.mp4", args.length)
        count = video.frame_count(file)
        if count is None:
            raise SystemExit(
                f"the packets of {file} do not prove the order of its pictures: they are counted, not sought"
            )
        numbers = random.Random(args.seed).sample(range(count), min(args.pictures, count))
        stamps = stamps_of(file)
        sides = {
            "bare seek": lambda: [bare_seek(file, stamps[number]) for number in numbers],
            "cold": lambda: (forget(), by_number(file, numbers)),
            "warm": lambda: by_number(file, numbers),
        }
        expected, found = sides["bare seek"](), by_number(file, numbers)
        assert all(np.array_equal(*pair) for pair in zip(expected, found, strict=True)), "the sides disagree"
        took = in_turns(sides, args.repeats, warm_up=1)
    report(args, took, count)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="read this one, which must be whole (default: encode one)")
    parser.add_argument("--length", type=int, default=1500, help="pictures of the video that is encoded (1500)")
    parser.add_argument("--pictures", type=int, default=20, help="how many are read (20)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    return parser.parse_args()


def encoded(file: Path, length: int) -> Path:
    """A moving pattern with a little noise, so that decoding costs as much as for real pictures."""
    noise = np.random.default_rng(0).integers(0, 24, (720, 2560, 3), dtype=np.uint8)
    noise += np.linspace(0, 200, 2560, dtype=np.uint8)[None, :, None]
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        stream.options = {"preset": "veryfast", "g": "250"}
        for number in range(length):
            left = 4 * number % 1280
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(noise[:, left : left + 1280]), format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def stamps_of(file: Path) -> list[int]:
    with av.open(str(file)) as container:
        return sorted(packet.pts for packet in container.demux(video=0) if packet.pts is not None)


def bare_seek(file: Path, stamp: int) -> np.ndarray:
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        container.seek(stamp, stream=stream)
        frame = next(frame for frame in container.decode(stream) if frame.pts == stamp)
        return frame.to_ndarray(format="rgb24")


def by_number(file: Path, numbers: list[int]) -> list[np.ndarray]:
    return [picture for number in numbers for _, picture in video.decode(file, [number])]


def forget() -> None:
    video_index.cache_clear()
    video._kept.clear()


def report(args: argparse.Namespace, took: dict[str, dict], count: int) -> None:
    ratio = took["cold"]["ratio"]
    print(f"{args.pictures} of {count} pictures of {args.video or 'an encoded video'}, median of {args.repeats}")
    print(f"{where()}, PyAV {av.__version__}\n\n{table(took, 'bare seek')}")
    print(f"\nwith its index: {ratio:.2f} times the bare seek ({'meets' if ratio <= BAR else 'misses'} {BAR:.0f})")
    if args.json:
        settings = {key: str(value) for key, value in vars(args).items() if key != "json"}
        args.json.write_text(json.dumps({"where": where(), "settings": settings, "sides": took}, indent=1) + "\n")


if __name__ == "__main__":
    main()
