"""Which part of a gallery counts: by camera, person and time."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from stmga.gallery.columns import Codes, Columns
from stmga.utils.text import preview

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Where:
    """The tracklets of some cameras, of some persons, and of a time. What is not given does not count.

    Args:
        cameras, persons: names, compared as text: 7 and "7" are one. A tracklet without the label is not among them.
        after, before: seconds on the clock of the tracklets (``time``, ``end_time``). A tracklet counts if it was there
            at any moment of the time from ``after`` to ``before``. Those without times do not, which is logged.

    Raises:
        ValueError: a time that is not finite, or ``after`` later than ``before``.

    >>> Where(cameras=["door", 2], after=60.0)
    Where(cameras=('door', '2'), persons=(), after=60.0, before=None)
    """

    cameras: Iterable[Any] = ()
    persons: Iterable[Any] = ()
    after: float | None = None
    before: float | None = None

    def __post_init__(self) -> None:
        for key in ("cameras", "persons"):
            value = getattr(self, key)
            names = [value] if isinstance(value, (str, int)) else value
            object.__setattr__(self, key, tuple(str(name) for name in names))
        for key in ("after", "before"):
            value = getattr(self, key)
            if value is not None and not (isinstance(value, (int, float)) and math.isfinite(value)):
                raise ValueError(f"{key} is a time in seconds, got {value!r}")
        if self.after is not None and self.before is not None and self.after > self.before:
            raise ValueError(f"after={self.after:g} is later than before={self.before:g}")

    def rows(self, columns: Columns) -> Tensor:
        """(n), True for the rows that count.

        Raises:
            ValueError: a camera or a person that the gallery does not have.
        """
        keep = torch.ones(len(columns), dtype=torch.bool, device="cpu")
        for what, names, codes in (("camera", self.cameras, columns.camera), ("person", self.persons, columns.person)):
            if names:
                keep &= _among(tuple(names), codes, what)
        if self.after is not None or self.before is not None:
            timed = columns.start.isfinite() & columns.end.isfinite()
            if missing := int((keep & ~timed).sum()):
                logger.warning("%s tracklets have no times and are left out by the time asked for",
                               f"{missing:,}")  # fmt: skip
            keep &= timed
            if self.after is not None:
                keep &= columns.end >= self.after
            if self.before is not None:
                keep &= columns.start <= self.before
        return keep


def _among(names: tuple[str, ...], codes: Codes, what: str) -> Tensor:
    unknown = [name for name in names if name not in codes.numbers_of]
    if unknown:
        known = f"it has {preview(codes.numbers_of)}" if codes.numbers_of else f"none of its tracklets has a {what}"
        raise ValueError(f"the gallery has no {what} {preview(unknown)}; {known}")
    wanted = torch.tensor([codes.numbers_of[name] for name in names], dtype=torch.int64, device="cpu")
    return torch.isin(codes.numbers, wanted)
