"""LS-VID (Li et al., ICCV 2019) in its official layout."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.matrices import read_integers
from stmga.data.datasets.reader import DataSetInfo, DataSetReader, collector_paused, read_lines
from stmga.metrics.protocol import Protocol
from stmga.tracklets.folders import list_folder
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError

TRAIN, TEST, TEST_INFO = (
    "list_sequence/list_seq_train.txt",
    "list_sequence/list_seq_test.txt",
    "test/data/info_test.mat",
)

INFO: DataSetInfo = DataSetInfo(
    name="lsvid",
    title="LS-VID",
    layout=f"tracklet_train/ and tracklet_test/ with the crops, {TRAIN}, {TEST} and {TEST_INFO}",
    marks=("list_sequence", TEST_INFO, "tracklet_train"),
    terms="LS-VID shows real people and is for academic research only, under an agreement with its authors.",
    ask="its authors, Jianing Li and Shiliang Zhang (Peking University), who send it on request by mail once the "
    "signed agreement on the project page of Global-Local Temporal Representations (ICCV 2019) is with them",
)


@collector_paused()
def read_lsvid(
    root: str | Path, *, queries_in_gallery: bool = True, check_files: bool = True, complete: bool = True
) -> Benchmark:
    """LS-VID: lists of ``PATH PERSON``, where a tracklet's frames are the files whose names begin with PATH.

    2,831 training tracklets of 842 persons; a test list of 11,333 tracklets of 2,730 persons, of which 3,504 are
    queries. A file name is ``PERSON_..._CAMERA_...`` (the third part is the camera, 1 to 15). Person numbers begin at 0
    in the training part and again in the test: they are different people.

    Research only, under an agreement with its authors; it shows real people.

    Args:
        root: the folder with ``list_sequence``, ``test/data/info_test.mat``, ``tracklet_train``, ``tracklet_test``.
        queries_in_gallery: the other queries are in each query's gallery, as in the paper of the set; published code
            differs in this, so the protocol states it.
        check_files: the frames of each test tracklet are counted against info_test.mat, and the header of every file is
            opened (millions: minutes).
        complete: False takes lists of a part of the set; counts are not checked.

    Raises:
        DataSetError: files missing, renamed or of another layout, lists that do not fit each other, or counts that are
            not the official ones.

    >>> read_lsvid("/data/none")
    Traceback (most recent call last):
    stmga.data.datasets.reader.DataSetError: /data/none does not exist
    ...
    """
    reading = DataSetReader(INFO, Path(root), complete)
    reading.need(TRAIN, TEST, TEST_INFO)
    try:
        rows, queries = _test_info(reading)
        train, test = (_Part(reading, name) for name in (TRAIN, TEST))
    except TrackletError as error:
        reading.attempt(error)
        reading.stop_if_faulty()
        raise
    _count(reading, train, test, queries)
    if len(rows) != len(test.tracklets):
        words = f"{TEST_INFO} has {len(rows):,} tracklets and {TEST} {len(test.tracklets):,}: they are of two versions"
        reading.faults.append(words)
    elif len(queries) and not (queries.min() >= 1 and queries.max() <= len(rows)):
        reading.faults.append(f"{TEST_INFO} names query {queries.max()} of {len(rows)} tracklets")
    else:
        _compare(reading, rows, test.tracklets, frames=check_files)
    chosen = set(queries.tolist())
    return reading.benchmark(
        Protocol(data="LS-VID test, official lists", queries_in_gallery=queries_in_gallery),
        train=[t for t in train.tracklets if t],
        query=[t for row in queries if 1 <= row <= len(test.tracklets) and (t := test.tracklets[row - 1])],
        gallery=[t for row, t in enumerate(test.tracklets, 1) if row not in chosen and t],
        check_files=check_files,
    )


def _test_info(reading: DataSetReader) -> tuple[np.ndarray, np.ndarray]:
    """First frame, last frame, person, camera of each test tracklet; rows of the queries, from 1."""
    rows, queries = (read_integers(reading.root / TEST_INFO, name) for name in ("info_test", "query"))
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise TrackletError(f"{TEST_INFO} must have the columns first, last, person, camera, got shape {rows.shape}")
    return rows, queries.ravel()


@dataclass
class _Part:
    """The tracklets of one list, None where one could not be made; each folder is listed once."""

    reading: DataSetReader
    name: str
    tracklets: list[Tracklet | None] = field(default_factory=list)
    folders: dict[Path, list[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, line in enumerate(read_lines(self.reading.root / self.name), 1):
            self.tracklets.append(self._tracklet(f"{self.name}:{number}", *line.rsplit(maxsplit=1)))

    def _tracklet(self, where: str, path: str, person: str = "") -> Tracklet | None:
        if not person.lstrip("-").isdigit():
            self.reading.faults.append(f'{where}: expected "PATH PERSON", got "{path} {person}"')
            return None
        start = self.reading.root / path
        names = self._beginning(start.parent, start.name)
        if not names:
            if start.parent.is_dir():  # otherwise reported once, when it was listed
                self.reading.faults.append(f"{where}: no image begins with {start}")
            return None
        cameras = {name.split("_")[2] if name.count("_") > 1 else "" for name in names}
        if len(cameras) > 1 or not all(camera.isdigit() for camera in cameras):
            what = "two cameras in one tracklet" if len(cameras) > 1 else "no camera"
            self.reading.faults.append(f"{where}: {what} in names like {start.parent / names[0]}")
            return None
        frames = tuple(Frame(start.parent / name) for name in names)
        return Tracklet(path, frames, int(person), int(cameras.pop()))

    def _beginning(self, folder: Path, start: str) -> list[str]:
        """Images in `folder` whose names begin with `start`, unless another digit follows: that is another tracklet."""
        if folder not in self.folders:
            try:
                self.folders[folder] = sorted(list_folder(folder)[1])
            except TrackletError as error:
                self.reading.attempt(error)
                self.folders[folder] = []
        names = self.folders[folder]
        first = bisect_left(names, start)
        found = []
        while first < len(names) and names[first].startswith(start):
            found.append(names[first])
            first += 1
        whole = [name for name in found if not name[len(start) : len(start) + 1].isdigit()]
        return whole or found


def _compare(reading: DataSetReader, rows: np.ndarray, tracklets: list[Tracklet | None], *, frames: bool) -> None:
    """Compare the test list with info_test.mat: person, camera and, if asked for, the number of frames."""
    for row, (tracklet, (first, last, person, camera)) in enumerate(zip(tracklets, rows.tolist(), strict=True), 1):
        if tracklet is None:
            continue
        here, listed = (tracklet.person, tracklet.camera), (person, camera)
        where = f'tracklet "{tracklet.id}"'
        if here != listed:
            reading.faults.append(f"{where}: person and camera {here}, row {row} of {TEST_INFO} has {listed}")
        elif frames and len(tracklet) != last - first + 1:
            reading.faults.append(
                f"{where}: {last - first + 1} frames by row {row} of {TEST_INFO}, found {len(tracklet)}"
            )


def _count(reading: DataSetReader, train: _Part, test: _Part, queries: np.ndarray) -> None:
    again = "is cut short: take it again"
    reading.count("training tracklets", 2831, len(train.tracklets), f"{TRAIN} {again}")
    reading.count("tracklets in the test list", 11333, len(test.tracklets), f"{TEST} {again}")
    reading.count("queries", 3504, len(set(queries.tolist())), f"{TEST_INFO} {again}")
    for name, people, part in ((TRAIN, 842, train), (TEST, 2730, test)):
        if all(part.tracklets):
            reading.count(f"persons in {name}", people, len({t.person for t in part.tracklets if t}), f"it {again}")
