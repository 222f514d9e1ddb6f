"""CUHK03 (Li et al., CVPR 2014): still crops by hand or by a detector, the classic protocol and the new one."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.cells import read_texts
from stmga.data.datasets.cuhk03_file import BOXES, MAT, find_mat, open_cuhk03
from stmga.data.datasets.matrices import read_integers
from stmga.data.datasets.reader import DataSetError, DataSetInfo, DataSetReader, check_split, collector_paused
from stmga.metrics.protocol import Protocol
from stmga.tracklets.folders import list_folder
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError

SPLITS = 20  # of the classic protocol
CROPS = {"labeled": 14096, "detected": 14097}
PERSONS, TESTED = 1467, 100  # of the set; of a classic test
NEW = {"labeled": (7368, 1400, 5328), "detected": (7365, 1400, 5332)}  # crops to train on, queries, gallery
NAME = re.compile(r"([0-9])_([0-9]{3})_([12])_([0-9]{2})\.png")  # pair of cameras, person, camera, picture
EXAMPLE = "1_001_1_01.png"
LIST = "cuhk03_new_protocol_config_{}.mat"

INFO: DataSetInfo = DataSetInfo(
    name="cuhk03",
    title="CUHK03",
    layout=f"images_labeled/{EXAMPLE}, images_detected/... (by `stmga unpack FOLDER`, from {MAT}), {MAT} and "
    + " and ".join(LIST.format(boxes) for boxes in BOXES),
    marks=(MAT, "cuhk03_release", *(LIST.format(boxes) for boxes in BOXES)),
    terms="CUHK03 shows real people and is for academic research only.",
    ask=f"{MAT}: its authors, Wei Li and Xiaogang Wang (The Chinese University of Hong Kong), on the project page of "
    "DeepReID (CVPR 2014); the lists of the new protocol: the repository person-re-ranking of zhunzhong07 on GitHub",
)


def named(boxes: str, classic: bool) -> DataSetInfo:
    """The description of one of the four tests."""
    return replace(INFO, name=f"cuhk03-{'classic-' if classic else ''}{boxes}")


@collector_paused()
def read_cuhk03(
    root: str | Path,
    *,
    boxes: str = "labeled",
    classic: bool = False,
    split: int = 0,
    check_files: bool = True,
    complete: bool = True,
) -> Benchmark:
    """CUHK03: 14,096 labeled or 14,097 detected crops of 1,467 persons, each seen by a pair of cameras.

    The crops are in ``cuhk-03.mat``; :func:`stmga.data.unpack_cuhk03` (``stmga unpack``) writes them once as PNG files.
    A crop is a tracklet of one frame. Cameras are 1 and 2, those of a pair; ``extra["pair"]`` is 1 to 5.

    The new protocol (Zhong et al., CVPR 2017) trains on 767 persons and tests on 700: 1,400 queries, a gallery of 5,328
    labeled or 5,332 detected crops. Persons are numbered by its list. The classic one has 20 splits: 100 persons are
    tested, all others trained on. Queries are the crops of camera 1, the gallery those of camera 2, single-shot
    (``Protocol(shots="single")``); results are the mean over the splits. Persons are ``1000 * pair + person``.

    Research only; it shows real people.

    Args:
        root: the folder with ``images_labeled`` or ``images_detected``, and, for the new protocol,
            ``cuhk03_new_protocol_config_labeled.mat`` or ``..._detected.mat``; for the classic one, ``cuhk-03.mat``.
        boxes: ``"labeled"`` by hand, or ``"detected"``.
        classic: the classic protocol.
        split: of the classic protocol, 0 to 19.
        check_files: open the header of each file (14,000: seconds).
        complete: False takes a part of the set; counts are not checked.

    Raises:
        ValueError: no such boxes, no such split, or a split of the new protocol.
        DataSetError: files missing, renamed or of another layout, lists that do not fit each other, or counts that are
            not the official ones.
        ImportError: scipy or h5py is not installed.

    >>> read_cuhk03("/data/none", boxes="drawn")
    Traceback (most recent call last):
    ValueError: boxes is labeled or detected, got 'drawn'
    """
    if boxes not in BOXES:
        raise ValueError(f"boxes is {' or '.join(BOXES)}, got {boxes!r}")
    check_split(split, SPLITS if classic else 1)
    reading = DataSetReader(named(boxes, classic), Path(root), complete)
    if not (reading.root / f"images_{boxes}").is_dir():
        words = f"the crops are in {MAT}: write them once, by `stmga unpack {reading.root}`"
        reading.faults.append(f"{reading.root / f'images_{boxes}'} does not exist; {words}")
    if not classic:
        reading.need(LIST.format(boxes))
    try:
        parts = _classic(reading, boxes, split) if classic else _new(reading, boxes)
    except DataSetError:
        raise
    except TrackletError as error:
        reading.attempt(error)
        reading.stop_if_faulty()
        raise
    which = f"classic split {split}, queries from camera 1" if classic else "new protocol (767/700)"
    return reading.benchmark(
        Protocol(data=f"CUHK03 {boxes}, {which}", queries_in_gallery=False, shots="single" if classic else "all"),
        **parts,
        check_files=check_files,
    )


def _new(reading: DataSetReader, boxes: str) -> dict[str, list[Tracklet]]:
    """The crops by the lists of the new protocol, in their order."""
    place = LIST.format(boxes)
    file = reading.root / place
    names = read_texts(file, "filelist")
    persons, cameras = (read_integers(file, key).ravel().tolist() for key in ("labels", "camId"))
    rows = {role: read_integers(file, f"{role}_idx").ravel().tolist() for role in ("train", "query", "gallery")}
    if not len(names) == len(persons) == len(cameras):
        words = f"{len(names):,} names, {len(persons):,} labels and {len(cameras):,} cameras"
        raise TrackletError(f"{file} has {words}: it is damaged")
    for role, found in rows.items():
        if found and not 1 <= min(found) <= max(found) <= len(names):
            raise TrackletError(f"{file}: {role}_idx names row {max(found)} (or {min(found)}) of {len(names):,}")
    parts: dict[str, list[Tracklet]] = {role: [] for role in rows}
    for role, found in rows.items():
        for row in found:
            pair = _numbers(reading, names[row - 1], f"{place}, row {row}")
            if pair is not None:
                crop = _crop(reading, boxes, names[row - 1], persons[row - 1], cameras[row - 1], pair[0])
                parts[role].append(crop)
    for role, crops in zip(rows, NEW[boxes], strict=True):
        people = 767 if role == "train" else 700
        reading.count(f"{boxes} crops in {role}_idx", crops, len(rows[role]), f"{place} is cut short: take it again")
        persons_here = len({crop.person for crop in parts[role]})
        reading.count(f"persons in {role}_idx", people, persons_here, f"{place} is cut short: take it again")
    return parts


def _classic(reading: DataSetReader, boxes: str, split: int) -> dict[str, list[Tracklet]]:
    """The crops of a split: those of its 100 persons are the test, those of all others are trained on."""
    with open_cuhk03(find_mat(reading.root)) as file:
        testsets = file.testsets()
    reading.count("test sets", SPLITS, len(testsets), f"{MAT} is of another version")
    reading.stop_if_faulty()
    if split >= len(testsets):
        raise TrackletError(f"{MAT} has {len(testsets)} test sets, so there is no split {split}")
    tested = {tuple(row) for row in testsets[split].tolist()}
    persons, parts = set(), {role: list[Tracklet]() for role in ("train", "query", "gallery")}
    names = list_folder(reading.root / f"images_{boxes}").images
    for name in names:
        numbers = _numbers(reading, name, f"images_{boxes}")
        if numbers is None:
            continue
        pair, person, camera, _ = numbers
        persons.add((pair, person))
        role = "train" if (pair, person) not in tested else "query" if camera == 1 else "gallery"
        parts[role].append(_crop(reading, boxes, name, 1000 * pair + person, camera, pair))
    if lost := sorted(tested - persons):
        words = f"images_{boxes} has no crop of person {lost[0][1]} of pair {lost[0][0]}, whom split {split} tests"
        reading.faults.append(f"{words} ({len(lost)} such persons): unpack {MAT} again")
    likely = f"images_{boxes} is not whole: repeat `stmga unpack {reading.root}`"
    reading.count(f"{boxes} crops", CROPS[boxes], len(names), likely)
    reading.count("persons", PERSONS, len(persons), likely)
    reading.count(f"persons in split {split}", TESTED, len(tested), f"{MAT} is damaged")
    return parts


def _numbers(reading: DataSetReader, name: str, where: str) -> tuple[int, ...] | None:
    """Pair, person, camera and picture by the name of a crop; None, and a fault, for another name."""
    match = NAME.fullmatch(name)
    if match is None:
        reading.faults.append(f'{where}: "{name}" is not named like {EXAMPLE}')
        return None
    return tuple(int(number) for number in match.groups())


def _crop(reading: DataSetReader, boxes: str, name: str, person: int, camera: int, pair: int) -> Tracklet:
    file = reading.root / f"images_{boxes}" / name
    return Tracklet(f"images_{boxes}/{file.stem}", (Frame(file),), person, camera, extra={"pair": pair})
