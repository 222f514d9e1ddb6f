"""Frames per second of tracking: decoding alone, the detector `motion` alone, the tracker alone, and all of it.

    python -m benchmarks.speed.tracking VIDEO --json benchmarks/results/tracking.json

Without VIDEO, rendered people cross a street of 768 x 432 pixels. All sides run in turns in one process, on one thread
of OpenCV; the decoder may use more. "all" is `stmga.people.track`; "the rest" is its share that neither decodes nor
detects nor tracks.
"""

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.turns import seconds, where
from stmga.people import Motion, track
from stmga.people.trackers import Tracker
from stmga.tracklets.video_frames import VideoFrames

FRAMES = 600  # of the drawn street
KEPT = 400  # frames that are kept in memory for the detector and the tracker alone


def drawn(folder: Path) -> Path:
    """People as rectangles who cross a street."""
    from tests.support.street import street, walk
    from tests.support.videos import filmed

    paths = [walk(FRAMES, start=start, step=1, top=top, height=50) for start, top in ((-60, 5), (-200, 60), (-340, 30))]
    small = (street(*(path[i] for path in paths)) for i in range(FRAMES))
    return filmed(folder / "street.mp4", [np.kron(p, np.ones((4, 5, 1), np.uint8))[:432, :768] for p in small])


def decode(video: Path) -> None:
    for _ in VideoFrames(video):
        pass


def detect(frames: list[np.ndarray], fps: float) -> list:
    motion = Motion(fps)
    return [motion(frame) for frame in frames]


def follow(found: list, frames: list[np.ndarray], fps: float) -> None:
    tracker = Tracker("bytetrack", fps)
    for boxes, frame in zip(found, frames, strict=True):
        tracker.update(boxes, frame)


def measure(video: Path, repeats: int) -> dict:
    """Frames per second of every side: median, and least and most."""
    import cv2

    cv2.setNumThreads(1)
    reader = VideoFrames(video)
    frames = [picture for _, picture, _ in reader]
    fps, count = reader.fps, len(frames)
    size = [frames[0].shape[1], frames[0].shape[0]]
    frames = frames[:KEPT]
    found = detect(frames, fps)
    sides = {
        "decode": (lambda: decode(video), count),
        "motion": (lambda: detect(frames, fps), len(frames)),
        "tracker": (lambda: follow(found, frames, fps), len(frames)),
        "all": (lambda: track(video, detector="motion"), count),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, (run, n) in sides.items():
            times[name].append(seconds(run) / n)
    rates = {name: [1 / t for t in each] for name, each in times.items()}
    middle = {name: statistics.median(each) for name, each in times.items()}
    return {
        "frames": count,
        "size": size,
        "rates": {name: [statistics.median(r), min(r), max(r)] for name, r in rates.items()},
        "the rest": 1 - sum(middle[name] for name in ("decode", "motion", "tracker")) / middle["all"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args.video or drawn(Path(folder)), args.repeats)
    result["machine"] = where()
    print(f"{result['frames']:,} frames of {result['size'][0]} x {result['size'][1]}; {result['machine']}")
    for name, (middle, least, most) in result["rates"].items():
        print(f"{name:8} {middle:7.0f} frames/s  ({least:.0f} to {most:.0f})")
    print(f"the rest {result['the rest']:7.0%} of the time of all")
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
