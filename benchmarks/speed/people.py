"""`stmga people` from end to end: frames per second, the share of each stage, and the floor.

    python -m benchmarks.speed.people VIDEO --json benchmarks/results/people.json

The floor is what no tracker can do without: decoding every frame and running the detector on it. Rounds of the floor
and of the command take turns, each in a process of its own. "rest" is what the command takes beyond the floor, as a
share of its time. Python's start and the imports of libraries are not counted (some 4 s); loading the weights is.
"""

import argparse
import importlib
import json
import multiprocessing
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from benchmarks.turns import where
from stmga.utils.files import atomic_write
from stmga.utils.text import text_table

LIBRARIES = ("torch", "torchvision", "cv2", "av", "supervision", "trackers", "jinja2", "PIL.Image")


def floor(video: str) -> dict[str, float]:
    """Decode and detect, as the command does."""
    from stmga.people import Motion
    from stmga.tracklets.video_frames import VideoFrames

    start, frames = time.perf_counter(), 0
    reader = VideoFrames(Path(video))
    detector = Motion(reader.fps)
    for _, picture, _ in reader:
        detector(picture)
        frames += 1
    return {"frames": frames, "seconds": time.perf_counter() - start}


def command(video: str) -> dict[str, float]:
    """The command, and its own times of the stages."""
    from stmga.cli.main import main

    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()) as printed:
        start = time.perf_counter()
        code = main(["people", video, "-o", folder, "--detector", "motion", "-q"])
        seconds = time.perf_counter() - start
    if code:
        raise SystemExit(printed.getvalue())
    line = next(line for line in printed.getvalue().splitlines() if line.startswith("time"))
    stages = {name: float(value) for name, value in re.findall(r"(\w+) ([\d.]+) s", line.partition("(")[2])}
    return {"seconds": seconds, **stages}


def measure(side: Callable[[str], dict[str, float]], video: str, pipe) -> None:
    for library in LIBRARIES:
        importlib.import_module(library)
    pipe.send(side(video))


def child(side: Callable[[str], dict[str, float]], video: str) -> dict[str, float]:
    """One round in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=measure, args=(side, video, theirs))
    process.start()
    theirs.close()
    found = ours.recv()
    process.join()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    rounds = [(child(floor, str(args.video)), child(command, str(args.video))) for _ in range(args.rounds)]
    frames = rounds[0][0]["frames"]
    rates = [frames / whole["seconds"] for _, whole in rounds]
    rests = [1 - least["seconds"] / whole["seconds"] for least, whole in rounds]
    table = [
        ["decode and motion alone", *_spread([least["seconds"] for least, _ in rounds])],
        *([name, *_spread([whole[name] for _, whole in rounds])] for name in rounds[0][1]),
    ]
    print(text_table(("seconds", "median", "least", "most"), table))
    print(f"{frames} frames: {statistics.median(rates):.0f} frames/s ({min(rates):.0f} to {max(rates):.0f}); "
          f"rest {statistics.median(rests):.2f} of the time ({min(rests):.2f} to {max(rests):.2f})")  # fmt: skip
    if args.json:
        result = {"where": where(), "video": args.video.name, "frames": frames, "rounds": rounds}
        atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())


def _spread(values: list[float]) -> list[str]:
    return [f"{value:.2f}" for value in (statistics.median(values), min(values), max(values))]


if __name__ == "__main__":
    main()
