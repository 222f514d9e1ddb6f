"""PRID-2011 (Hirzer et al., SCIA 2011) in its official layout."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.ilids import half_and_half, two_cameras
from stmga.data.datasets.reader import SPLITS, DataSetInfo, DataSetReader, check_split
from stmga.tracklets.folders import read_folder
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.utils.foreign import parse_json

INNER, CAMERAS, LIST = "prid_2011", "multi_shot", "splits_prid2011.json"
IN_BOTH = 200  # persons 1 to 200 are the same in both cameras; higher numbers are different people in each
MORE_THAN = 21  # frames in both cameras, of those who count
PERSONS = 178

INFO: DataSetInfo = DataSetInfo(
    name="prid",
    title="PRID-2011",
    layout=f"{INNER}/{CAMERAS}/cam_a/person_0001/*.png, .../cam_b/... and, optionally, {LIST}",
    marks=(f"{INNER}/{CAMERAS}", f"{CAMERAS}/cam_a"),
    terms="PRID-2011 shows real people and is for academic research only.",
    ask="the page of PRID 2011 at the Institute of Computer Graphics and Vision, TU Graz (downloads of team Bischof)",
)


def read_prid(root: str | Path, *, split: int = 0, check_files: bool = True, complete: bool = True) -> Benchmark:
    """PRID-2011: ``prid_2011/multi_shot/cam_a/person_0001/*.png``, and so ``cam_b``.

    Persons 1 to 200 are in both cameras; the 178 of them with more than 21 frames in each count, half to train on and
    half to test. Queries are those of camera a (1), the gallery those of camera b (2). The splits everyone uses come in
    ``splits_prid2011.json``, beside ``prid_2011`` or in it; without it the halves are drawn with `split` as the seed,
    and the protocol says which of the two it was.

    Research only; it shows real people.

    Args:
        root: the folder with ``prid_2011``, or with ``multi_shot``.
        split: 0 to 9; results are the mean over all ten.
        check_files: open the header of each file (seconds).
        complete: False takes fewer than 178 persons.

    Raises:
        ValueError: no such split.
        DataSetError: files missing, renamed or of another layout, or counts that are not the official ones.

    >>> read_prid("/data/none")
    Traceback (most recent call last):
    stmga.data.datasets.reader.DataSetError: /data/none does not exist
    ...
    """
    check_split(split)
    reading = DataSetReader(INFO, Path(root), complete)
    base = INNER if (reading.root / INNER).is_dir() else "."
    reading.need(*(str(Path(base, CAMERAS, camera)) for camera in ("cam_a", "cam_b")))
    try:
        found = read_folder(reading.root / base / CAMERAS, layout="cam_{camera}/person_{person}", check_files=False)
    except TrackletError as error:
        reading.attempt(error)
        reading.stop_if_faulty()
        raise
    cameras = two_cameras(reading, found, {"a": 1, "b": 2})
    persons = [person for person in sorted(set(cameras[1]) & set(cameras[2])) if _counts(cameras, person)]
    likely = (
        f"persons with more than {MORE_THAN} frames in both cameras; folders or frames are missing: unpack it again"
    )
    reading.count("persons", PERSONS, len(persons), likely)
    reading.stop_if_faulty()
    train, test, words = _halves(reading, base, split, persons)
    reading.stop_if_faulty()
    return half_and_half(reading, cameras, train, test, words, check_files)


def _counts(cameras: dict[int, dict[int, Tracklet]], person: int) -> bool:
    return person <= IN_BOTH and all(len(cameras[camera][person]) > MORE_THAN for camera in (1, 2))


def _halves(reading: DataSetReader, base: str, split: int, persons: list[int]) -> tuple[list[int], list[int], str]:
    """Who is trained on, who is tested on, and where that comes from."""
    file = next((f for f in (reading.root / LIST, reading.root / base / LIST) if f.is_file()), None)
    if file is None:
        order = np.random.default_rng(split).permutation(persons).tolist()
        half = len(order) // 2
        return sorted(order[:half]), sorted(order[half:]), f"halves drawn with seed {split} (no {LIST})"
    try:
        rows = parse_json(file.read_text("utf-8"))
        train, test = ([_person(name) for name in rows[split][part]] for part in ("train", "test"))
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        words = f'expected {SPLITS} objects {{"train": ["person_0001", ...], "test": [...]}}'
        reading.faults.append(f"{file}: {words} ({type(error).__name__}: {error})")
        return [], [], ""
    strange = sorted((set(train) | set(test)) - set(persons))
    if strange or set(train) & set(test):
        reading.faults.append(
            f"{file}, split {split}: persons {strange[:5] or 'in both halves'} do not fit the folders"
        )
    return train, test, f"split {split} of {LIST}"


def _person(name: str) -> int:
    match = re.fullmatch(r"person_([0-9]+)", name)
    if match is None:
        raise ValueError(f'"{name}" is not a person')
    return int(match[1])
