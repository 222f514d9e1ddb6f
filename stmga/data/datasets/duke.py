"""DukeMTMC-VideoReID (Wu et al., CVPR 2018) in its official layout. Withdrawn: for those who hold it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.reader import DataSetInfo, DataSetReader, collector_paused
from stmga.metrics.protocol import Protocol
from stmga.tracklets.folders import read_folder
from stmga.tracklets.tracklet import Tracklet, TrackletError

PARTS = ("train", "query", "gallery")
NAME = re.compile(r"([0-9]+)_?C([0-9]+)_?F([0-9]+)_?X([0-9]+)\.[A-Za-z]+")  # both naming schemes in circulation
INNER = "DukeMTMC-VideoReID"

INFO: DataSetInfo = DataSetInfo(
    name="duke",
    title="DukeMTMC-VideoReID",
    layout="train, query and gallery, each with PERSON/TRACKLET/0001C6F0099X30823.jpg",
    marks=(INNER,),
    terms="DukeMTMC was withdrawn by its authors in 2019, because the people in it had not agreed to this "
    "use; this reader is for those who hold it, and new work should use another set.",
    ask="nowhere: its authors no longer give it out",
)


@collector_paused()
def read_duke(root: str | Path, *, check_files: bool = True, complete: bool = True) -> Benchmark:
    """DukeMTMC-VideoReID: ``train/0001/0003/0001C6F0099X30823.jpg``, and so ``query`` and ``gallery``.

    2,196 training tracklets of 702 persons; 702 queries of 702 other persons; a gallery of 2,636 tracklets, of those
    702 and of 408 distractors, whose numbers no query has. The queries are not in the gallery. A file name gives the
    person (0001), the camera (C6) and the position in the tracklet (F0099), by which frames are ordered.

    **Withdrawn by its authors in 2019**; for those who hold it.

    Args:
        root: the folder with ``train``, ``query`` and ``gallery``, or the folder with ``DukeMTMC-VideoReID``.
        check_files: open the header of each file (815,000 of them: minutes).
        complete: False takes a part of the set; counts are not checked.

    Raises:
        DataSetError: files missing, renamed or of another layout, or counts that are not the official ones.

    >>> read_duke("/data/none")
    Traceback (most recent call last):
    stmga.data.datasets.reader.DataSetError: /data/none does not exist
    ...
    """
    root = Path(root).absolute()
    reading = DataSetReader(INFO, root / INNER if (root / INNER).is_dir() else root, complete)
    reading.need(*PARTS)
    parts: dict[str, list[Tracklet]] = {}
    for part in PARTS:
        try:
            found = read_folder(reading.root / part, layout="{person}/{tracklet}", check_files=False)
            parts[part] = [good for tracklet in found if (good := _named(reading, part, tracklet)) is not None]
        except TrackletError as error:
            reading.attempt(error)
    if not reading.faults:
        _count(reading, parts)
    return reading.benchmark(
        Protocol(data="DukeMTMC-VideoReID test", queries_in_gallery=False),
        **{part: parts.get(part, []) for part in PARTS},
        check_files=check_files,
    )


def looks_like_duke(root: Path) -> bool:
    """Whether the three folders are there and the first file is named as in this set."""
    if INFO.is_at(root):
        return True
    if not all((root / part).is_dir() for part in PARTS):
        return False
    first = next((root / "train").glob("*/*/*.jpg"), None)
    return first is not None and NAME.fullmatch(first.name) is not None


def _named(reading: DataSetReader, part: str, tracklet: Tracklet) -> Tracklet | None:
    """A tracklet labelled by its file names; None, and a fault, if they contradict each other."""
    matches = [NAME.fullmatch(frame.file.name) for frame in tracklet.frames]
    where = reading.root / part / tracklet.id
    for frame, match in zip(tracklet.frames, matches, strict=True):
        if match is None:
            reading.faults.append(f"{frame.file} is not named like 0001C6F0099X30823.jpg")
            return None
    numbers = [tuple(int(number) for number in match.groups()) for match in matches if match]
    persons, cameras = ({row[i] for row in numbers} for i in (0, 1))
    if len(cameras) > 1:
        reading.faults.append(f"{where} has files of two cameras in one tracklet: {sorted(cameras)}")
    elif not str(tracklet.person).isdigit() or persons != {int(str(tracklet.person))}:
        reading.faults.append(f"{where} has files of person {sorted(persons)}, the folder says {tracklet.person}")
    else:
        order = sorted(range(len(numbers)), key=lambda i: numbers[i][2:])
        frames = tuple(tracklet.frames[i] for i in order)
        return replace(
            tracklet, id=f"{part}/{tracklet.id}", frames=frames, person=persons.pop(), camera=cameras.pop(), extra={}
        )
    return None


def _count(reading: DataSetReader, parts: dict[str, list[Tracklet]]) -> None:
    persons = {part: {tracklet.person for tracklet in tracklets} for part, tracklets in parts.items()}
    for part, tracklets, people in (("train", 2196, 702), ("query", 702, 702), ("gallery", 2636, 1110)):
        likely = f"{part}/ is not whole: unpack the archive again"
        reading.count(f"tracklets in {part}", tracklets, len(parts[part]), likely)
        reading.count(f"persons in {part}", people, len(persons[part]), likely)
    reading.count("distractor persons", 408, len(persons["gallery"] - persons["query"]), "gallery/ is not whole")
