"""MARS (Zheng et al., ECCV 2016) in its official layout."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.matrices import read_integers
from stmga.data.datasets.reader import DataSetInfo, DataSetReader, collector_paused, read_lines
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError

LISTS = ("train_name.txt", "test_name.txt", "tracks_train_info.mat", "tracks_test_info.mat", "query_IDX.mat")
JUNK, DISTRACTOR = -1, 0

INFO: DataSetInfo = DataSetInfo(
    name="mars",
    title="MARS",
    layout="bbox_train/PERSON/*.jpg, bbox_test/PERSON/*.jpg and info/ with " + ", ".join(LISTS),
    marks=("bbox_train", "bbox_test", "info/tracks_train_info.mat", "info/tracks_test_info.mat"),
    terms="MARS shows real people and is for academic research only.",
    ask="the crops: the project page of Liang Zheng et al., MARS (ECCV 2016); the folder info/: the repository "
    "MARS-evaluation of liangzheng06 on GitHub",
)


@collector_paused()
def read_mars(root: str | Path, *, check_files: bool = True, complete: bool = True) -> Benchmark:
    """MARS: ``bbox_train/0001/0001C1T0001F001.jpg``, ``bbox_test/...`` and the five lists in ``info/``.

    8,298 training tracklets of 625 persons; a test list of 12,180, of which 1,980 are queries, 870 junk (person -1:
    dropped) and 3,248 distractors (person 0: nobody's match). The queries are part of the gallery: 11,310 tracklets.
    Persons and cameras are integers; the id is the common prefix of a tracklet's files, such as ``0001C1T0001``.

    Research only; it shows real people.

    Args:
        root: the folder with ``bbox_train``, ``bbox_test`` and ``info``.
        check_files: list every folder for the files that the lists name, and open the header of each file (1.2 million
            of them: minutes). False looks at the lists alone.
        complete: False takes lists of a part of the set; counts are not checked.

    Raises:
        DataSetError: files missing, renamed or of another layout, lists that do not fit each other, counts that are not
            the official ones: all together, with where to ask for what is missing.

    >>> read_mars("/data/none")
    Traceback (most recent call last):
    stmga.data.datasets.reader.DataSetError: /data/none does not exist
    MARS is expected as bbox_train/PERSON/*.jpg, ...
    """
    reading = DataSetReader(INFO, Path(root), complete)
    reading.need(*(f"info/{name}" for name in LISTS))
    try:
        train, test = (_part(reading, part) for part in ("train", "test"))
        queries = read_integers(reading.root / "info/query_IDX.mat", "query_IDX").ravel()
    except TrackletError as error:
        reading.attempt(error)
        reading.stop_if_faulty()
        raise
    _count(reading, train, test, queries)
    if len(queries) and not (queries.min() >= 1 and queries.max() <= len(test)):
        words = f"info/query_IDX.mat names row {queries.max()} of info/tracks_test_info.mat, which has {len(test)}"
        reading.faults.append(words)
        reading.stop_if_faulty()
    chosen = set(queries.tolist())
    return reading.benchmark(
        Protocol(data="MARS test, official lists", junk=(JUNK,), distractors=(DISTRACTOR,), queries_in_gallery=True),
        train=train,
        query=[test[row - 1] for row in queries],
        gallery=[tracklet for row, tracklet in enumerate(test, 1) if row not in chosen],
        check_files=check_files,
        known_bad=_missing(reading, train + test) if check_files else [t for t in train + test if not len(t)],
    )


def _part(reading: DataSetReader, part: str) -> list[Tracklet]:
    """The tracklets of ``train`` or ``test`` in the order of their list."""
    info = reading.root / "info"
    names = read_lines(info / f"{part}_name.txt")
    where = f"info/tracks_{part}_info.mat"
    rows = read_integers(reading.root / where, f"track_{part}_info")
    if rows.ndim != 2 or rows.shape[1] != 4 or not len(rows):
        raise TrackletError(f"{where} must have the columns first, last, person, camera, got shape {rows.shape}")
    if rows[:, 1].max() != len(names):
        words = f"{info / f'{part}_name.txt'} has {len(names):,} names, {where} needs {rows[:, 1].max():,}"
        raise TrackletError(f"{words}: one of them is cut short or of another version")
    taken: set[str] = set()
    tracklets = []
    for row, (first, last, person, camera) in enumerate(rows.tolist(), 1):
        own = names[max(first, 1) - 1 : last]
        start = f"{'00-1' if person == JUNK else f'{person:04d}'}C{camera}T"
        strange = next((name for name in own if not name.startswith(start)), None) if own else "nothing"
        if strange:
            reading.faults.append(f"{where}, row {row}: person {person}, camera {camera}, but the name is {strange}")
        name = own[0].rpartition("F")[0] if not strange else f"row {row} of {where}"
        if name in taken:
            name = Path(own[0]).stem
        taken.add(name)
        home = reading.root / f"bbox_{part}" / start[:4]
        tracklets.append(Tracklet(name, () if strange else tuple(Frame(home / file) for file in own), person, camera))
    return tracklets


def _count(reading: DataSetReader, train: list[Tracklet], test: list[Tracklet], queries: np.ndarray) -> None:
    persons = Counter(tracklet.person for tracklet in test)
    likely = "the lists in info/ are cut short: take them again"
    reading.count("training tracklets", 8298, len(train), likely)
    reading.count("training persons", 625, len({tracklet.person for tracklet in train}), likely)
    reading.count("tracklets in the test list", 12180, len(test), likely)
    reading.count("queries", 1980, len(set(queries.tolist())), "info/query_IDX.mat is cut short: take it again")
    reading.count("junk tracklets (person -1)", 870, persons[JUNK], likely)
    reading.count("distractors (person 0)", 3248, persons[DISTRACTOR], likely)


def _missing(reading: DataSetReader, tracklets: list[Tracklet]) -> list[Tracklet]:
    """Tracklets with missing files: one fault per file, or per missing folder."""
    listed: dict[Path, set[str] | None] = {}
    gone: Counter[Path] = Counter()
    bad = []
    for tracklet in tracklets:
        if not len(tracklet):  # already reported
            bad.append(tracklet)
            continue
        folder = tracklet.frames[0].file.parent
        if folder not in listed:
            listed[folder] = set(os.listdir(folder)) if folder.is_dir() else None
        there = listed[folder]
        if there is None:
            gone[folder] += len(tracklet)
            bad.append(tracklet)
        elif missing := [frame.file for frame in tracklet.frames if frame.file.name not in there]:
            reading.faults += [f'tracklet "{tracklet.id}": {file} does not exist' for file in missing]
            bad.append(tracklet)
    reading.faults += [f"{folder} does not exist: {count:,} files should be in it" for folder, count in gone.items()]
    return bad
