"""What is known of the tracklets of a gallery, as columns: person, camera, and when they were there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

UNKNOWN = -1  # the code of a tracklet without the label


@dataclass(frozen=True, eq=False)
class Codes:
    """A label of each row as a number: ``names[numbers[i]]`` is that of row i; :data:`UNKNOWN` where there is none."""

    numbers: Tensor  # (n) int64
    names: Sequence[str | None]  # None for a number that is not in use
    numbers_of: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        found = {name: number for number, name in enumerate(self.names) if name is not None}
        object.__setattr__(self, "numbers_of", found)

    @classmethod
    def of(cls, labels: Iterable[Any]) -> Codes:
        """From labels, compared as text: a folder reader says camera "1" where a manifest says 1. None is unknown."""
        found: dict[str, int] = {}
        numbers = [UNKNOWN if label is None else found.setdefault(str(label), len(found)) for label in labels]
        return cls(torch.tensor(numbers, dtype=torch.int64, device="cpu"), list(found))

    def numbers_for(self, labels: Iterable[Any]) -> Tensor:
        """(q) the numbers of other labels; :data:`UNKNOWN` for None, and -2 for a label that no row has."""
        found = [UNKNOWN if label is None else self.numbers_of.get(str(label), -2) for label in labels]
        return torch.tensor(found, dtype=torch.int64, device="cpu")


@dataclass(frozen=True, eq=False)
class Columns:
    """Person and camera of n rows, and their first and last second, NaN where unknown.

    ``present`` is None, or False for rows whose tracklet was removed.
    """

    person: Codes
    camera: Codes
    start: Tensor  # (n) float64
    end: Tensor  # (n) float64
    present: Tensor | None = None

    def __len__(self) -> int:
        return len(self.person.numbers)

    @classmethod
    def of(cls, items: Sequence[Mapping[str, Any]]) -> Columns:
        """From items of tracklets."""
        times = torch.tensor([times_of(item) for item in items], dtype=torch.float64, device="cpu").reshape(-1, 2)
        person, camera = (Codes.of(item.get(key) for item in items) for key in ("person", "camera"))
        return cls(person, camera, times[:, 0], times[:, 1])


def times_of(item: Mapping[str, Any]) -> tuple[float, float]:
    """First and last second of a tracklet, NaN if unknown. Without ``end_time``, only its beginning is known."""
    start = item.get("time")
    end = item.get("end_time", start)
    if not isinstance(start, (int, float)) or not isinstance(end, (int, float)):
        return math.nan, math.nan
    return float(start), float(end)
