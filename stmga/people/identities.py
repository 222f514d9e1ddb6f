"""The result of linking: which tracklets are one person, and how sure that is."""

from __future__ import annotations

import csv
import io
import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from stmga.utils.files import atomic_write
from stmga.utils.foreign import parse_json, read_regular

KNOWN_LIMIT = 1 << 30  # bytes of a file of known persons


@dataclass(frozen=True, kw_only=True)
class Membership:
    """One tracklet of an identity.

    Attributes:
        identity: number of the person, from 1 in order of the first tracklet.
        tracklet, camera: as in the embeddings.
        person: as corrected by hand (``known``), else as in the embeddings.
        start, end: first and last frame, from 0, where known.
        time, end_time: the same in seconds, where known.
        similarity: mean cosine to the other tracklets of the identity; None if there is no other.
        confidence: 0..1; how much better its identity fits than the next one, or than a person of its own: 0.5 is no
            better. ``(1 + s) / 2`` with the silhouette coefficient ``s`` of the linkage score; 1 for a known person.
        alternative: the next best identity that it could be, if any is similar at all.
    """

    identity: int
    tracklet: str
    camera: Any = None
    person: Any = None
    start: int | None = None
    end: int | None = None
    time: float | None = None
    end_time: float | None = None
    similarity: float | None = None
    confidence: float
    alternative: int | None = None


@dataclass(frozen=True, eq=False)
class Identities:
    """One row for each tracklet, in the order of the embeddings.

    Attributes:
        rows: what :func:`stmga.link` found.
        threshold: the score from which two groups of tracklets were one person.
        false_match_rate: of that threshold by the calibration of the weights, or None if the threshold was given.
        without_times: how many tracklets could not be kept apart from others of their camera at the same time, because
            their times are unknown.
        known: the persons that were known before, by identity.
    """

    rows: list[Membership]
    threshold: float
    false_match_rate: float | None = None
    without_times: int = 0
    known: Mapping[int, str | int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len({row.identity for row in self.rows})

    def __iter__(self) -> Iterator[Membership]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"Identities({len(self):,} from {len(self.rows):,} tracklets, {self.alone:,} with one tracklet)"

    @property
    def alone(self) -> int:
        """How many persons have one tracklet only."""
        return sum(count == 1 for count in Counter(row.identity for row in self.rows).values())

    def name(self, identity: int) -> str | int:
        """The known person of an identity, else ``"id-3"`` for identity 3, with another number if somebody has that.

        >>> people = Identities([], threshold=0.5, known={2: "ann", 5: "id-3"})
        >>> [people.name(i) for i in (1, 2, 3)]
        ['id-1', 'ann', 'id-3-2']
        """
        if identity in self.known:
            return self.known[identity]
        name, taken, number = f"id-{identity}", set(map(str, self.known.values())), 1
        while name in taken:
            number += 1
            name = f"id-{identity}-{number}"
        return name

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the rows, ``.jsonl`` or ``.csv``, whole or not at all.

        Raises:
            ValueError: another suffix.
        """
        path = Path(path)
        if path.suffix == ".jsonl":
            lines = (json.dumps({k: v for k, v in asdict(row).items() if v is not None}) for row in self.rows)
            atomic_write(path, "".join(f"{line}\n" for line in lines).encode())
        elif path.suffix == ".csv":
            text = io.StringIO()
            writer = csv.DictWriter(text, [column.name for column in fields(Membership)], lineterminator="\n")
            writer.writeheader()
            writer.writerows(map(asdict, self.rows))
            atomic_write(path, text.getvalue().encode("utf-8", "backslashreplace"))
        else:
            raise ValueError(f"identities are written as .jsonl or .csv, got {path.name!r}")
        return path


def read_known(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The persons that were filled in by hand, by tracklet, from a file as ``identities.jsonl`` or a manifest.

    Every line is an object with ``tracklet``; those without ``person``, or with null or "", are not known.

    Raises:
        ValueError: a line that is not such an object, or a tracklet with two persons.
        OSError: the file cannot be read.
    """
    known: dict[str, Any] = {}
    for number, line in enumerate(read_regular(path, KNOWN_LIMIT).decode("utf-8", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(f"{path}:{number}: not valid JSON: {error}") from error
        if not isinstance(row, dict) or not isinstance(row.get("tracklet"), str):
            raise ValueError(f'{path}:{number}: expected an object with "tracklet" and "person", got {line[:60]!r}')
        person = row.get("person")
        if not isinstance(person, (str, int, type(None))) or isinstance(person, bool):
            raise ValueError(f"{path}:{number}: person must be text or an integer, got {str(person)[:60]!r}")
        if person in (None, ""):
            continue
        if str(known.setdefault(row["tracklet"], person)) != str(person):
            raise ValueError(f'{path}:{number}: tracklet "{row["tracklet"]}" has two persons')
    return known
