"""A little benchmark to pack, and what is in a pack."""

from pathlib import Path

from stmga.data import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Frame, Tracklet

RULES = Protocol(data="the walk, test", junk=(-1,), distractors=(0,), queries_in_gallery=False, unknown_camera="keep")


def benchmark(crops: Path) -> Benchmark:
    tracklets = [
        Tracklet(f"t{p}", sorted((crops / f"{p:02d}").iterdir()), p - 1, p % 3 or None, extra={"note": [p]})
        for p in range(12)
    ]
    boxed = Tracklet("boxes", [Frame(crops / "00/0.jpg", (1, 2, 8, 16)), Frame(crops / "00/0.jpg")], "x", "door", 2.5)
    return Benchmark(
        name="walk", train=[*tracklets[:5], boxed], query=tracklets[5:8], gallery=tracklets[8:], protocol=RULES,
        terms="rendered",
    )  # fmt: skip


def all_of(made):
    return [*made.train, *made.query, *made.gallery]


def content(folder):
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}
