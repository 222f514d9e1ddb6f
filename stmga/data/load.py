"""Loads data for training or testing from a folder, a manifest, a pack or an official data set."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from stmga.data.benchmark import Benchmark
from stmga.data.datasets import cuhk03, duke, ilids, lsvid, market, mars, msmt17, prid
from stmga.data.datasets.cuhk03_file import BOXES
from stmga.data.datasets.reader import SPLITS, DataSetInfo, collector_paused
from stmga.data.packing import MANIFEST, PROTOCOL, about_pack, is_pack
from stmga.data.roles import benchmark_from
from stmga.tracklets.folders import read_folder
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.tracklet import TrackletError


class DataSet(NamedTuple):
    """An official test: its reader, its description, how to recognise it, and how many splits it has (0: none)."""

    read: Callable[..., Benchmark]
    info: DataSetInfo
    looks_like: Callable[[Path], bool]
    splits: int = 0

    @property
    def terms(self) -> str:
        """Terms of use, and where to ask for the data."""
        return f"{self.info.terms} Where to ask for it: {self.info.ask}"


DATASETS: dict[str, DataSet] = {
    "mars": DataSet(mars.read_mars, mars.INFO, mars.INFO.is_at),
    "duke": DataSet(duke.read_duke, duke.INFO, duke.looks_like_duke),
    "lsvid": DataSet(lsvid.read_lsvid, lsvid.INFO, lsvid.INFO.is_at),
    "ilids": DataSet(ilids.read_ilids, ilids.INFO, ilids.INFO.is_at, splits=SPLITS),
    "prid": DataSet(prid.read_prid, prid.INFO, prid.INFO.is_at, splits=SPLITS),
    "market": DataSet(market.read_market, market.INFO, market.looks_like_market),
    "msmt17": DataSet(msmt17.read_msmt17, msmt17.INFO, msmt17.INFO.is_at),
    **{
        cuhk03.named(boxes, classic).name: DataSet(
            partial(cuhk03.read_cuhk03, boxes=boxes, classic=classic),
            cuhk03.named(boxes, classic),
            cuhk03.INFO.is_at,
            splits=cuhk03.SPLITS if classic else 0,
        )
        for classic in (False, True)
        for boxes in BOXES
    },
}
CHOICES = ("auto", *DATASETS, "folders", "manifest")


@collector_paused()
def load_benchmark(
    source: str | Path,
    *,
    dataset: str = "auto",
    layout: str = "{person}/{tracklet}",
    holdout: float = 0.0,
    seed: int = 0,
    split: int = 0,
    check_files: bool = True,
    max_pixels: int | None = None,
) -> Benchmark:
    """The tracklets of `source` by role, with the protocol of its test.

    Args:
        source: a folder, a ``.jsonl`` manifest, or a pack (`stmga.data.packing.pack`), which evaluates as the data it
            was made from.
        dataset: one of `DATASETS`; ``"folders"`` (see `stmga.tracklets.read_folder`), ``"manifest"`` (a pack is one),
            or ``"auto"``: a ``.jsonl`` file is a manifest; a folder is a pack or an official data set if it looks like
            one, otherwise folders.
        layout: of folders; a level ``{role}`` sorts them into ``train``, ``query`` and ``gallery``.
        holdout, seed: see `stmga.data.benchmark_from`.
        split: of iLIDS-VID and PRID-2011, 0 to 9; of classic CUHK03, 0 to 19.
        check_files: open the header of every file now; for a pack, check the size of each shard.
        max_pixels: for folders, manifests and packs: larger pictures are refused; default: 64 million.

    Raises:
        ValueError: an unknown data set, a split for a set without splits, a holdout for a set that has a test, a
            limit of pixels for an official data set.
        TrackletError: all faults of the data in one error.

    >>> load_benchmark("/data/mine", dataset="viper")
    Traceback (most recent call last):
    ValueError: dataset is one of auto, mars, duke, lsvid, ilids, prid, market, msmt17, cuhk03-labeled, ... got 'viper'
    """
    if dataset not in CHOICES:
        raise ValueError(f"dataset is one of {', '.join(CHOICES)}, got {dataset!r}")
    source = Path(source).absolute()
    if dataset == "auto":
        dataset = guess(source)
    known = DATASETS.get(dataset)
    if split and not (known and known.splits):
        raise ValueError(f"{dataset} has no splits: leave split at 0, got {split!r}")
    if known:
        if holdout:
            raise ValueError(f"{known.info.title} has a test of its own: leave holdout at 0, got {holdout:g}")
        if max_pixels is not None:
            raise ValueError(f"the pictures of {known.info.title} are small: leave max_pixels out, got {max_pixels:,}")
        return known.read(source, check_files=check_files, **({"split": split} if known.splits else {}))
    named = source.parent if source.name in ("index.jsonl", MANIFEST) else source  # "index" says less
    name, protocol, terms = named.stem if named.suffix == ".jsonl" else named.name, None, ""
    if dataset == "folders":
        tracklets = read_folder(source, layout=layout, check_files=check_files, max_pixels=max_pixels)
    else:
        if source.is_dir():
            if not is_pack(source):
                raise TrackletError(f"{source} is not a pack: give the .jsonl manifest itself, or dataset='folders'")
            source /= MANIFEST
        beside = source.parent  # a pack's, or that of rendered walkers
        if source.name == MANIFEST and (is_pack(beside) or (beside / PROTOCOL).is_file()):
            name, protocol, terms = about_pack(beside)
        tracklets = read_manifest(source, check_files=check_files, max_pixels=max_pixels)
    return benchmark_from(tracklets, name=name, protocol=protocol, holdout=holdout, seed=seed, terms=terms)


def guess(source: Path) -> str:
    """The kind of data set that ``dataset="auto"`` detects."""
    if not source.exists():
        raise TrackletError(f"{source} does not exist")
    if source.is_file():
        if source.suffix == ".jsonl":
            return "manifest"
        raise TrackletError(f"{source} is neither a folder nor a .jsonl manifest")
    if is_pack(source):
        return "manifest"
    found = [name for name, known in DATASETS.items() if known.looks_like(source)]
    tests = [name for name in found if DATASETS[name].info.title == DATASETS[found[0]].info.title]
    if len(tests) > 1:
        words = f"which has {len(tests)} tests ({', '.join(tests)})"
        raise TrackletError(f"{source} is {DATASETS[tests[0]].info.title}, {words}: choose one, as dataset={tests[0]}")
    return found[0] if found else "folders"
