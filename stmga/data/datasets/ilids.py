"""iLIDS-VID (Wang et al., ECCV 2014) in its official layout."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.matrices import read_integers
from stmga.data.datasets.reader import SPLITS, DataSetInfo, DataSetReader, check_split
from stmga.metrics.protocol import Protocol
from stmga.tracklets.folders import read_folder
from stmga.tracklets.tracklet import Tracklet, TrackletError

SEQUENCES, LIST = "i-LIDS-VID/sequences", "train-test people splits/train_test_splits_ilidsvid.mat"
PERSONS = 300

INFO: DataSetInfo = DataSetInfo(
    name="ilids",
    title="iLIDS-VID",
    layout=f"{SEQUENCES}/cam1/person001/*.png, .../cam2/... and {LIST}",
    marks=("i-LIDS-VID", "train-test people splits"),
    terms="iLIDS-VID is made from the i-LIDS videos of the UK Home Office, shows real people and is for academic "
    "research only.",
    ask="the project page of iLIDS-VID at the home page of Xiatian Zhu (formerly Queen Mary University of London)",
)


def read_ilids(root: str | Path, *, split: int = 0, check_files: bool = True, complete: bool = True) -> Benchmark:
    """iLIDS-VID: ``i-LIDS-VID/sequences/cam1/person001/*.png``, ``cam2`` alike, and the ten official splits.

    300 persons, one tracklet in each of two cameras. A split tests on the first half of its row and trains on the
    second, as the authors do: 150 persons each. Queries are those of camera 1, the gallery those of camera 2.

    Research only; it shows real people.

    Args:
        root: the folder with ``i-LIDS-VID`` and ``train-test people splits``.
        split: 0 to 9; results are the mean over all ten.
        check_files: open the header of each file (42,000: seconds).
        complete: False takes fewer than 300 persons; the numbers of a split then count the persons that exist.

    Raises:
        ValueError: no such split.
        DataSetError: files missing, renamed or of another layout, or counts that are not the official ones.

    >>> read_ilids("/data/none", split=11)
    Traceback (most recent call last):
    ValueError: split is one of 10, 0 to 9, got 11; results are the mean over all
    """
    check_split(split)
    reading = DataSetReader(INFO, Path(root), complete)
    reading.need(SEQUENCES, LIST)
    try:
        found = read_folder(reading.root / SEQUENCES, layout="cam{camera}/person{person}", check_files=False)
        rows = read_integers(reading.root / LIST, "ls_set")
    except TrackletError as error:
        reading.attempt(error)
        reading.stop_if_faulty()
        raise
    cameras = two_cameras(reading, found, {"1": 1, "2": 2})
    persons = sorted(set(cameras[1]) & set(cameras[2]))
    reading.count("persons", PERSONS, len(persons), f"folders are missing in {SEQUENCES}: unpack the archive again")
    whole = rows.ndim == 2 and len(rows) == SPLITS and rows.shape[1] == len(persons)
    if not whole or not (np.sort(rows, axis=1) == np.arange(1, len(persons) + 1)).all():
        words = f"{LIST} must hold {SPLITS} orders of the numbers 1 to {len(persons)} (one for each person)"
        reading.faults.append(f"{words}, got shape {rows.shape}")
    reading.stop_if_faulty()
    order = [persons[place - 1] for place in rows[split]]
    half = len(order) // 2
    return half_and_half(reading, cameras, sorted(order[half:]), sorted(order[:half]), f"split {split}", check_files)


def two_cameras(reading: DataSetReader, found: list[Tracklet], names: dict[str, int]) -> dict[int, dict[int, Tracklet]]:
    """Camera -> person -> tracklet, as integers; a fault for a folder that is neither."""
    cameras: dict[int, dict[int, Tracklet]] = {camera: {} for camera in names.values()}
    for tracklet in found:
        camera, person = names.get(str(tracklet.camera)), str(tracklet.person)
        if camera is None or not person.isdigit():
            reading.faults.append(f"{tracklet.frames[0].file.parent} is not the folder of a person and camera")
            continue
        cameras[camera][int(person)] = replace(tracklet, person=int(person), camera=camera)
    return cameras


def half_and_half(
    reading: DataSetReader,
    cameras: dict[int, dict[int, Tracklet]],
    train: list[int],
    test: list[int],
    split: str,
    check_files: bool,
) -> Benchmark:
    """Train on both cameras of `train`; the queries are `test` in camera 1, the gallery `test` in camera 2."""
    return reading.benchmark(
        Protocol(data=f"{reading.info.title}, {split}", queries_in_gallery=False),
        train=[cameras[camera][person] for person in train for camera in (1, 2)],
        query=[cameras[1][person] for person in test],
        gallery=[cameras[2][person] for person in test],
        check_files=check_files,
    )
