"""The sites that adaptation is measured on: tracklets without labels, and tests on the same people and on others."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from stmga.data import write_scenes
from stmga.data.walkers.generate import write_benchmark
from stmga.utils.files import atomic_write

GAP = 100  # frames of Market-1501 without a person, after which they have left
FRAME = re.compile(r"c\d+s\d+_(\d+)_")


@dataclass(frozen=True)
class Test:
    """Labelled tracklets; without roles, the first of each person and camera are the queries."""

    manifest: Path
    roles: bool = True


@dataclass(frozen=True)
class SiteData:
    """Tracklets to adapt to, and tests by name."""

    manifest: Path
    tests: dict[str, Test]


def read_rows(manifest: Path) -> list[dict]:
    return [json.loads(line) for line in manifest.read_text("utf-8").splitlines()]


def write_rows(file: Path, rows: Iterable[dict]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(file, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return file


def absolute(rows: Iterable[dict], folder: Path) -> list[dict]:
    return [row | {"frames": [str((folder / frame).resolve()) for frame in row["frames"]]} for row in rows]


def halves(rows: list[dict], most: int | None) -> tuple[list[dict], list[dict]]:
    """The rows of every other identity in order of their numbers, and those of the rest, at most so many persons each.

    These are the halves of `benchmarks.accuracy.fine_tuning`.
    """
    persons = sorted({row["person"] for row in rows})
    first, second = set(persons[::2][:most]), set(persons[1::2][:most])
    return [row for row in rows if row["person"] in first], [row for row in rows if row["person"] in second]


def without_labels(rows: Iterable[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key not in ("person", "role")} for row in rows]


def mars8(data: Path, out: Path, persons: int | None = None) -> SiteData:
    """mars8-dev: one half of the identities is the site; its official queries and gallery are the tests."""
    mine, others = halves(absolute(read_rows(data / "mars8-dev" / "index.jsonl"), data / "mars8-dev"), persons)
    tests = {"other": others, "same": mine}
    return SiteData(
        write_rows(out / "mars8-dev-half" / "manifest.jsonl", without_labels(mine)),
        {name: Test(write_rows(out / "mars8-dev-half" / f"{name}.jsonl", rows)) for name, rows in tests.items()},
    )


def stays(row: dict) -> Iterator[dict]:
    """The stays of a group of Market-1501 crops: its frames by number, cut where the person is gone for a while."""
    numbered = sorted((int(FRAME.search(frame)[1]), frame) for frame in row["frames"])
    parts: list[list[tuple[int, str]]] = []
    for number, frame in numbered:
        if not parts or number - parts[-1][-1][0] > GAP:
            parts.append([])
        parts[-1].append((number, frame))
    for part in parts:
        when = {"video": f"c{row['camera']}s{row['sequence']}", "start": part[0][0], "end": part[-1][0]}
        yield {
            "tracklet": f"{row['tracklet']}F{part[0][0]}", "person": row["person"], "camera": row["camera"], **when,
            "frames": [frame for _, frame in part],
        }  # fmt: skip


def market(data: Path, out: Path, persons: int | None = None) -> SiteData:
    """market1501-867 with times: frames with equal numbers of one camera and sequence are of one moment."""
    folder = data / "market1501-867"
    rows = [stay for row in absolute(read_rows(folder / "index.jsonl"), folder) for stay in stays(row)]
    mine, others = halves(rows, persons)
    tests = {"other": others, "same": mine}
    return SiteData(
        write_rows(out / "market1501-half" / "manifest.jsonl", without_labels(mine)),
        {name: Test(write_rows(out / "market1501-half" / f"{name}.jsonl", r), False) for name, r in tests.items()},
    )


def scenes(data: Path, out: Path, persons: int | None = None, seed: int = 0) -> SiteData:
    """Rendered scenes of two minutes, with times on one clock; the other people are those of the next seed."""
    options = {"persons": persons or 60, "seconds": 120}
    here, there = (write_scenes(out / "scenes" / str(s), seed=s, **options) for s in (seed, seed + 1))
    return SiteData(here, {"other": Test(there, False), "same": Test(here, False)})


def forgotten(data: Path, out: Path) -> dict[str, Test]:
    """What the network could before: rendered walkers, and the CUHK03 identities that no training sees."""
    walkers = write_benchmark(out / "walkers", 0, 32, cameras=3, tracklets=2, frames=8)
    found = {"walkers": Test(walkers)}
    held = data / "cuhk03-held-soft" / "index.jsonl"
    return found | ({"cuhk03-held": Test(held)} if held.is_file() else {})


SITES = {"mars8": mars8, "market": market, "scenes": scenes}
