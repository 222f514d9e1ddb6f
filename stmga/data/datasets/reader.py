"""Shared by the readers of official data sets: where to ask for a set, expected counts, one error for all faults."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.tracklets.validation import check_tracklets
from stmga.utils.foreign import MB, read_regular

SPLITS = 10  # of iLIDS-VID and PRID-2011
LIST_LIMIT = 256 * MB  # of a list; that of MARS has 10 MB


@dataclass(frozen=True, kw_only=True)
class DataSetInfo:
    """The description of a data set.

    Attributes:
        name: the name on the command line.
        title: the name in text.
        layout: its folders, in one line.
        marks: paths below the root; one of them is enough to recognise the set.
        terms: what it may be used for.
        ask: where its files come from.
    """

    name: str
    title: str
    layout: str
    marks: tuple[str, ...]
    terms: str
    ask: str

    def is_at(self, root: Path) -> bool:
        """Whether `root` looks like this data set."""
        return any((root / mark).exists() for mark in self.marks)

    def advice(self, root: Path) -> str:
        """The lines after the faults of a folder: what was expected there, and where to ask for it."""
        lines = [f"{self.title} is expected as {self.layout}, below {root}"]
        if root.is_dir() and not self.is_at(root):
            inner = [folder for folder in sorted(root.iterdir()) if folder.is_dir() and self.is_at(folder)]
            lines += [f"it seems to be in {folder}: give that folder instead" for folder in inner[:1]]
        return "\n".join([*lines, f"where to ask for it: {self.ask}"])


class DataSetError(TrackletError):
    """All faults of a data set's folder, what was expected there and where to ask for what is missing.

    >>> print(DataSetError(["info/test_name.txt does not exist"], "where to ask for it: ..."))
    info/test_name.txt does not exist
    where to ask for it: ...
    """

    def __init__(self, faults: str | Sequence[str], advice: str = "") -> None:
        self.advice = advice
        super().__init__(faults)

    def _message(self) -> str:
        return f"{super()._message()}\n{self.advice}"

    def __reduce__(self) -> tuple[type[TrackletError], tuple[list[str], str]]:  # type: ignore[override]
        return DataSetError, (self.faults, self.advice)


@dataclass
class DataSetReader:
    """Reads a data set: collects faults, checks counts, and builds the benchmark.

    Args:
        info: the description of the set.
        root: where it is.
        complete: whether the official counts must be met.
    """

    info: DataSetInfo
    root: Path
    complete: bool = True
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.root = Path(self.root).absolute()
        if not self.root.is_dir():
            what = "is not a folder" if self.root.exists() else "does not exist"
            raise DataSetError(f"{self.root} {what}", self.info.advice(self.root))

    def need(self, *paths: str) -> None:
        """Raise unless all of these exist: nothing can be read without them."""
        self.faults += [f"{self.root / path} does not exist" for path in paths if not (self.root / path).exists()]
        self.stop_if_faulty()

    def stop_if_faulty(self) -> None:
        if self.faults:
            raise DataSetError(self.faults, self.info.advice(self.root))

    def attempt(self, error: TrackletError) -> None:
        """Keep the faults of a part, and continue with the others."""
        self.faults += error.faults

    def count(self, what: str, expected: int, found: int, likely: str) -> None:
        """Check a count of the whole set; `likely` says what is missing if fewer are found."""
        if self.complete and found != expected:
            reason = likely if found < expected else "these are lists or folders of another set or version"
            words = f"{self.info.title} has {expected:,} {what}, found {found:,}"
            self.faults.append(f"{words}: {reason} (complete=False reads a part of the set as it is)")

    def benchmark(
        self,
        protocol: Protocol,
        *,
        train: Iterable[Tracklet],
        query: Iterable[Tracklet],
        gallery: Iterable[Tracklet],
        check_files: bool,
        known_bad: Iterable[Tracklet] = (),
    ) -> Benchmark:
        """The benchmark: every tracklet checked (except files of `known_bad`) and given its role."""
        parts = {"train": list(train), "query": list(query), "gallery": list(gallery)}
        roles = {role: [_with_role(t, role) for t in part] for role, part in parts.items()}
        bad = {tracklet.id for tracklet in known_bad}
        tracklets = [t for part in roles.values() for t in part if t.id not in bad]
        if tracklets or not self.faults:
            try:
                checked = {t.id: t for t in check_tracklets(tracklets, check_files=check_files, faults=self.faults)}
                roles = {role: [checked.get(t.id, t) for t in part] for role, part in roles.items()}
            except TrackletError as error:
                self.faults = error.faults
        self.stop_if_faulty()
        terms = f"{self.info.terms} Where to ask for it: {self.info.ask}"
        return Benchmark(name=self.info.name, protocol=protocol, terms=terms, **roles)


def _with_role(tracklet: Tracklet, role: str) -> Tracklet:
    return replace(tracklet, extra={**tracklet.extra, "role": role})


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector, which halves the time to create millions of small objects."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def check_split(split: int, splits: int = SPLITS) -> None:
    """ValueError unless `split` is one of so many; with one alone, it is 0."""
    if isinstance(split, bool) or not isinstance(split, int) or not 0 <= split < splits:
        if splits == 1:
            raise ValueError(f"this test has no splits: leave split at 0, got {split!r}")
        raise ValueError(f"split is one of {splits}, 0 to {splits - 1}, got {split!r}; results are the mean over all")


def read_lines(path: Path) -> list[str]:
    """Lines of a list that are not empty; TrackletError if it cannot be read."""
    try:
        return [line for line in read_regular(path, LIST_LIMIT).decode("utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise TrackletError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
