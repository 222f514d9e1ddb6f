"""What travel times say of a query and a gallery tracklet: nobody was that fast, or the time fits."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stmga.calibration import Calibration
from stmga.gallery.columns import Columns
from stmga.tracklets.times import TravelTime, check_once
from stmga.utils.text import preview

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Stays:
    """Where and when n tracklets were seen, for the cameras of some travel times.

    Attributes:
        camera: (n) int64, the number of the camera among the names; -1 for another one.
        start, end: (n) float64, first and last second; NaN if unknown.
    """

    camera: Tensor
    start: Tensor
    end: Tensor

    @classmethod
    def of(cls, columns: Columns, names: Sequence[str]) -> Stays:
        """The stays of tracklets; rows whose tracklet was removed have no camera."""
        number = {name: i for i, name in enumerate(names)}
        numbers = [-1 if name is None else number.get(name, -1) for name in columns.camera.names]
        camera = torch.tensor([*numbers, -1], dtype=torch.int64, device="cpu")[columns.camera.numbers]  # -1 is the last
        gone = torch.zeros_like(camera, dtype=torch.bool) if columns.present is None else ~columns.present
        return cls(camera.masked_fill(gone, -1), columns.start, columns.end)

    def __len__(self) -> int:
        return len(self.camera)

    @property
    def timed(self) -> Tensor:
        """(n) bool: whether the times are known."""
        return ~self.start.isnan()

    def __getitem__(self, rows: Tensor) -> Stays:
        return Stays(self.camera[rows], self.start[rows], self.end[rows])


class TravelPrior:
    """What travel times add to the cosine of a query and a gallery tracklet, as :func:`stmga.link` uses them.

    A pair that nobody is fast enough for gets -inf, which excludes it. A pair that fits gets
    :meth:`Calibration.gain <stmga.calibration.Calibration.gain>` for the share of the gallery tracklets of that camera
    whose time fits the query. Every other pair gets 0: another camera, an unknown time, or more time than ``most``.

    Args:
        queries, gallery: their stays, for the cameras of ``travel``; see :meth:`of`.
        travel: seconds between cameras.
        calibration: of the gallery; without one nothing is added to a pair that fits.

    >>> travel = [TravelTime(("door", "hall"), 20, 60)]
    >>> items = [{"camera": "hall", "time": t, "end_time": t + 10} for t in (15, 40, 500)]
    >>> query = Columns.of([{"camera": "door", "time": 0, "end_time": 10}])
    >>> TravelPrior.of(query, Columns.of(items), travel, None)(torch.tensor([0]), torch.arange(3))
    tensor([[-inf, 0., 0.]])
    """

    def __init__(
        self, queries: Stays, gallery: Stays, travel: Sequence[TravelTime], calibration: Calibration | None = None
    ) -> None:
        self.queries, self.gallery = queries, gallery
        names = cameras_of(travel)
        self._routes = []
        for one in travel:
            a, b = (names.index(name) for name in one.cameras)
            for here, there in ((a, b), (b, a)):
                gains = torch.zeros(len(queries), dtype=torch.float32, device="cpu")
                if calibration is not None:
                    gains = _gains(queries, here, gallery, there, one, calibration)
                self._routes.append((one, here, there, gains))

    @classmethod
    def of(
        cls, queries: Columns, gallery: Columns, travel: Sequence[TravelTime], calibration: Calibration | None
    ) -> TravelPrior:
        """From what is known of queries and gallery tracklets.

        Raises:
            ValueError: a camera without times, or two travel times of one pair of cameras.
        """
        check_travel(queries, gallery, travel)
        mine, theirs = (Stays.of(columns, cameras_of(travel)) for columns in (queries, gallery))
        return cls(mine, theirs, travel, calibration)

    def __call__(self, queries: Tensor, rows: Tensor) -> Tensor:
        """Query numbers (b), and gallery rows (m) for all of them or (b m) -> what is added to each cosine (b m)."""
        out = torch.zeros(len(queries), rows.shape[-1], dtype=torch.float32, device="cpu")
        for one, here, there, gains in self._routes:
            mine = (self.queries.camera[queries] == here).nonzero().flatten()
            if not len(mine):
                continue
            at = queries[mine]
            theirs = self.gallery[rows if rows.ndim == 1 else rows[mine]]
            impossible, fits = _judged(self.queries[at[:, None]], theirs, one)
            said = torch.where(fits, gains[at, None], 0.0).masked_fill(impossible, -torch.inf)
            out[mine] = torch.where(theirs.camera == there, said, out[mine])
        return out


def cameras_of(travel: Sequence[TravelTime]) -> list[str]:
    """The cameras that travel times name, each once."""
    return sorted({name for one in travel for name in one.cameras})


def check_travel(queries: Columns, gallery: Columns, travel: Sequence[TravelTime]) -> None:
    """Raise ValueError for a camera without times, or two travel times of one pair of cameras.

    Logs how many tracklets have no times.
    """
    check_once(travel)
    names = cameras_of(travel)
    known = set(queries.camera.numbers_of) | set(gallery.camera.numbers_of)
    sides = [Stays.of(columns, names) for columns in (queries, gallery)]
    for number, name in enumerate(names):
        if not any((side.timed & (side.camera == number)).any() for side in sides):
            reason = f"the cameras are {preview(sorted(known)) or 'unknown'}"
            if name in known:
                reason = "its tracklets have no time and end_time, which `stmga track --start` gives"
            raise ValueError(f"a travel time is given for camera {name!r}: {reason}")
    times = [one.start if one.present is None else one.start[one.present] for one in (queries, gallery)]
    if any(start.isnan().any() for start in times):
        logger.warning(
            "%s of %s queries and %s of %s gallery tracklets have no times: travel times say nothing of them",
            *(f"{count:,}" for start in times for count in (int(start.isnan().sum()), len(start))),
        )


def _soonest(mine: Stays, one: TravelTime) -> tuple[Tensor, Tensor]:
    """The first second in the other camera after a stay, and the last second there before it: never within the stay."""
    just_after = torch.nextafter(mine.end, torch.full_like(mine.end, torch.inf))
    just_before = torch.nextafter(mine.start, torch.full_like(mine.start, -torch.inf))
    after, before = torch.maximum(mine.end + one.least, just_after), torch.minimum(mine.start - one.least, just_before)
    return after, before


def _judged(mine: Stays, theirs: Stays, one: TravelTime) -> tuple[Tensor, Tensor]:
    """Whether nobody is that fast, and whether the time fits; both False where a time is unknown."""
    after, before = _soonest(mine, one)
    fast = (theirs.start < after) & (theirs.end > before)
    near = (theirs.start <= mine.end + one.most) & (theirs.end >= mine.start - one.most)
    return fast, near & ~fast


def _gains(queries: Stays, here: int, gallery: Stays, there: int, one: TravelTime, calibration: Calibration) -> Tensor:
    """(q) float32: what a time that fits adds for each query of the camera ``here``."""
    gains = torch.zeros(len(queries), dtype=torch.float32, device="cpu")
    seen = gallery[((gallery.camera == there) & gallery.timed).nonzero().flatten()]
    rows = ((queries.camera == here) & queries.timed).nonzero().flatten()
    if not len(seen):
        return gains
    starts, ends, mine = seen.start.sort().values, seen.end.sort().values, queries[rows]
    after, before = _soonest(mine, one)
    counts = _between(starts, after, mine.end + one.most) + _between(ends, mine.start - one.most, before)
    by_count = {count: calibration.gain(count / len(seen)) for count in counts.unique().tolist() if count}
    gains[rows] = gains.new_tensor([by_count.get(count, 0.0) for count in counts.tolist()])
    return gains


def _between(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """How many of the sorted ``values`` are in ``low..high``, for each pair of bounds."""
    return torch.searchsorted(values, high, right=True) - torch.searchsorted(values, low)
