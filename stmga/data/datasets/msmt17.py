"""MSMT17 (Wei et al., CVPR 2018), versions V1 and V2, in official layout: still crops, each a tracklet of one frame."""

from __future__ import annotations

from pathlib import Path

from stmga.data.benchmark import Benchmark
from stmga.data.datasets.reader import DataSetInfo, DataSetReader, collector_paused, read_lines
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError

VERSIONS = {"V1": ("train", "test"), "V2": ("mask_train_v2", "mask_test_v2")}
LISTS = {"train": 30248, "val": 2373, "query": 11659, "gallery": 82161}  # crops in list_train.txt and so on
EXAMPLE = "0000/0000_000_01_0303morning_0008_0.jpg 0"

INFO: DataSetInfo = DataSetInfo(
    name="msmt17",
    title="MSMT17",
    layout="train/ and test/ (V1) or mask_train_v2/ and mask_test_v2/ (V2), and "
    + ", ".join(f"list_{name}.txt" for name in LISTS),
    marks=("list_gallery.txt", "MSMT17_V1", "MSMT17_V2"),
    terms="MSMT17 shows real people and is for academic research only, under an agreement with its authors.",
    ask="its authors, Longhui Wei and Shiliang Zhang (Peking University), who send it once the signed agreement on the "
    "project page of Person Transfer GAN to Bridge Domain Gap (CVPR 2018) is with them",
)


@collector_paused()
def read_msmt17(
    root: str | Path, *, with_val: bool = True, check_files: bool = True, complete: bool = True
) -> Benchmark:
    """MSMT17: lists of ``0000/0000_000_01_0303morning_0008_0.jpg 0``, file and person; V1 or V2 by its folders.

    32,621 training crops of 1,041 persons (30,248 in ``list_train.txt``, 2,373 in ``list_val.txt``); 11,659 queries and
    a gallery of 82,161 crops, of 3,060 other persons, without the queries. A crop is a tracklet of one frame. The third
    part of a file name is the camera, 1 to 15. Person numbers begin at 0 in the training part and again in the test:
    they are different people. In V2, faces are blurred; its lists have the same counts.

    Research only, under an agreement with its authors; it shows real people.

    Args:
        root: the folder with the lists, or the folder with ``MSMT17_V1`` or ``MSMT17_V2``.
        with_val: train on ``list_val.txt`` too, which the authors count as training data. Published code differs in
            this: much of it trains on the 30,248 crops of ``list_train.txt`` alone.
        check_files: open the header of each file (126,000: a minute).
        complete: False takes lists of a part of the set; counts are not checked.

    Raises:
        DataSetError: files missing or of another layout, both versions in one folder, lists that cannot be read, or
            counts that are not the official ones.

    >>> read_msmt17("/data/none")
    Traceback (most recent call last):
    stmga.data.datasets.reader.DataSetError: /data/none does not exist
    ...
    """
    reading = DataSetReader(INFO, _home(Path(root)), complete)
    reading.faults += _both(reading.root)
    reading.need(*(f"list_{name}.txt" for name in LISTS))
    version = _version(reading)
    train, test = VERSIONS[version]
    parts = {name: _crops(reading, name, train if name in ("train", "val") else test) for name in LISTS}
    if not reading.faults:
        _count(reading, parts)
    return reading.benchmark(
        Protocol(data=f"MSMT17 {version} test, official lists", queries_in_gallery=False),
        train=[*parts["train"], *(parts["val"] if with_val else [])],
        query=parts["query"],
        gallery=parts["gallery"],
        check_files=check_files,
    )


def _home(root: Path) -> Path:
    """The folder of the one version in `root`, else `root` itself."""
    inner = [root / f"MSMT17_{version}" for version in VERSIONS if (root / f"MSMT17_{version}").is_dir()]
    return inner[0] if len(inner) == 1 else root


def _both(root: Path) -> list[str]:
    inner = [version for version in VERSIONS if (root / f"MSMT17_{version}").is_dir()]
    return [f"{root} has both versions, V1 and V2: give the folder of one of them"] if len(inner) > 1 else []


def _version(reading: DataSetReader) -> str:
    """``"V1"`` or ``"V2"``, by the folders of crops."""
    found = [name for name, folders in VERSIONS.items() if all((reading.root / folder).is_dir() for folder in folders)]
    if len(found) != 1:
        either = " or ".join(" and ".join(f"{folder}/" for folder in folders) for folders in VERSIONS.values())
        reading.faults.append(f"{reading.root} must have either {either}, and has {'both' if found else 'neither'}")
    reading.stop_if_faulty()
    return found[0]


def _crops(reading: DataSetReader, name: str, folder: str) -> list[Tracklet]:
    """The crops of a list in its order; a fault for every line that names no file, person and camera."""
    place = f"list_{name}.txt"
    try:
        lines = read_lines(reading.root / place)
    except TrackletError as error:
        reading.attempt(error)
        return []
    found = []
    for number, line in enumerate(lines, 1):
        path, _, person = line.strip().rpartition(" ")
        parts = Path(path).stem.split("_")
        if not person.isdecimal() or len(parts) < 4 or not parts[2].isdecimal() or _leaves(path):
            reading.faults.append(f'{place}:{number}: expected a line like "{EXAMPLE}", got "{line}"')
            continue
        file = reading.root / folder / path
        found.append(Tracklet(f"{folder}/{path}", (Frame(file),), int(person), int(parts[2])))
    return found


def _leaves(path: str) -> bool:
    """Whether a path of a list may be outside its folder."""
    return Path(path).is_absolute() or ".." in Path(path).parts


def _count(reading: DataSetReader, parts: dict[str, list[Tracklet]]) -> None:
    for name, crops in LISTS.items():
        reading.count(f"crops in list_{name}.txt", crops, len(parts[name]), "it is cut short: take it again")
    for what, people, names in (("training", 1041, ("train", "val")), ("test", 3060, ("query", "gallery"))):
        persons = {crop.person for name in names for crop in parts[name]}
        reading.count(f"{what} persons", people, len(persons), "its lists are cut short: take them again")
