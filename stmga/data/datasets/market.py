"""Market-1501 (Zheng et al., ICCV 2015) in its official layout: still crops, each a tracklet of one frame."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.reader import DataSetInfo, DataSetReader, collector_paused
from stmga.metrics.protocol import Protocol
from stmga.tracklets.folders import list_folder
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError

FOLDERS = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
INNER = "Market-1501-v15.09.15"
NAME = re.compile(
    r"(-1|[0-9]+)_c([0-9]+)s([0-9]+)_([0-9]+)_([0-9]+)\.[A-Za-z]+"
)  # person, camera, sequence, frame, box
EXAMPLE = "0002_c1s1_000451_03.jpg"
JUNK, DISTRACTOR = -1, 0

INFO: DataSetInfo = DataSetInfo(
    name="market",
    title="Market-1501",
    layout=f"bounding_box_train, bounding_box_test and query, each with {EXAMPLE}",
    marks=("bounding_box_train", "bounding_box_test"),
    terms="Market-1501 shows real people and is for academic research only.",
    ask="the project page of Liang Zheng et al., Scalable Person Re-identification: A Benchmark (ICCV 2015)",
)


@collector_paused()
def read_market(root: str | Path, *, check_files: bool = True, complete: bool = True) -> Benchmark:
    """Market-1501: ``bounding_box_train/0002_c1s1_000451_03.jpg``, and so ``bounding_box_test`` and ``query``.

    12,936 training crops of 751 persons; 3,368 queries of 750 other persons; a gallery of 19,732 crops, of which 3,819
    are junk (person -1: dropped). The other 15,913 show these 750 persons, or are distractors (person 0: nobody's
    match). The counts are those of the set's own page. The queries are not in the gallery.

    A crop is a tracklet of one frame. A file name gives person (0002), camera (c1), sequence (s1), frame (000451) and
    box (03). ``extra`` keeps ``sequence`` and ``frame``: frames count from the beginning of their sequence, so crops of
    one person in one camera are in the order of time. Clocks of two cameras are not the same.

    Research only; it shows real people.

    Args:
        root: the folder with ``bounding_box_train``, ``bounding_box_test`` and ``query``, or with
            ``Market-1501-v15.09.15``.
        check_files: open the header of each file (36,000: seconds).
        complete: False takes a part of the set; counts are not checked.

    Raises:
        DataSetError: files missing, renamed or of another layout, or counts that are not the official ones.

    >>> read_market("/data/none")
    Traceback (most recent call last):
    stmga.data.datasets.reader.DataSetError: /data/none does not exist
    ...
    """
    root = Path(root).absolute()
    reading = DataSetReader(INFO, root / INNER if (root / INNER).is_dir() else root, complete)
    reading.need(*FOLDERS.values())
    parts = {role: _crops(reading, folder) for role, folder in FOLDERS.items()}
    if not reading.faults:
        _count(reading, parts)
    return reading.benchmark(
        Protocol(data="Market-1501 test", junk=(JUNK,), distractors=(DISTRACTOR,), queries_in_gallery=False),
        **parts,
        check_files=check_files,
    )


def looks_like_market(root: Path) -> bool:
    """Whether the three folders are there and the first file is named as in this set; others use the folders too."""
    if (root / INNER).is_dir():
        return True
    if not all((root / folder).is_dir() for folder in FOLDERS.values()):
        return False
    first = next((root / FOLDERS["train"]).glob("*.jpg"), None)
    return first is not None and NAME.fullmatch(first.name) is not None


def _crops(reading: DataSetReader, folder: str) -> list[Tracklet]:
    """The crops of a folder in the order of their names; a fault for every other name."""
    try:
        names = list_folder(reading.root / folder).images
    except TrackletError as error:
        reading.attempt(error)
        return []
    found = []
    for name in names:
        file = reading.root / folder / name
        match = NAME.fullmatch(name)
        if match is None:
            reading.faults.append(f"{file} is not named like {EXAMPLE}")
            continue
        person, camera, sequence, frame, _ = (int(number) for number in match.groups())
        extra = {"sequence": sequence, "frame": frame}
        found.append(Tracklet(f"{folder}/{file.stem}", (Frame(file),), person, camera, extra=extra))
    return found


def _count(reading: DataSetReader, parts: dict[str, list[Tracklet]]) -> None:
    persons = {role: Counter(crop.person for crop in crops) for role, crops in parts.items()}
    for role, crops, people in (("train", 12936, 751), ("query", 3368, 750), ("gallery", 19732, 750)):
        likely = f"{FOLDERS[role]}/ is not whole: unpack the archive again"
        reading.count(f"crops in {FOLDERS[role]}", crops, len(parts[role]), likely)
        reading.count(f"persons in {FOLDERS[role]}", people, len(persons[role].keys() - {JUNK, DISTRACTOR}), likely)
    reading.count("junk crops (person -1)", 3819, persons["gallery"][JUNK], "bounding_box_test/ is not whole")
