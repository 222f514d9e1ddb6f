"""Conditions of the command line, as ``camera=door`` and ``time=60..90``, on queries and on a gallery."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stmga.utils.text import preview

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.where import Where

HELP = "role=query or camera=door, or time=FROM..TO in seconds or dates; a key given twice means either"
MOMENT = "seconds, or a date with a time zone as 2026-11-28T10:00:00+01:00"


@dataclass(frozen=True)
class Conditions:
    """Values by key, any of which will do; and a time, from ``after`` to ``before``."""

    values: Mapping[str, tuple[str, ...]]
    after: float | None = None
    before: float | None = None

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Conditions:
        """From ``["camera=door", "camera=hall", "time=60..90"]``.

        Raises:
            ValueError: text of another form, or two times.

        >>> Conditions.parse(["camera=door", "camera=hall", "time=60.."])
        Conditions(values={'camera': ('door', 'hall')}, after=60.0, before=None)
        """
        values: dict[str, tuple[str, ...]] = {}
        for text in texts:
            key, sign, value = text.partition("=")
            if not sign:
                raise ValueError(f"expected key=value, got {text!r}")
            values[key] = (*values.get(key, ()), value)
        times = values.pop("time", ())
        if len(times) > 1:
            raise ValueError(f"expected one time=FROM..TO, got {' and '.join(times)}")
        return cls(values, *(_window(times[0]) if times else ()))

    @property
    def timed(self) -> bool:
        return self.after is not None or self.before is not None

    def of_gallery(self) -> tuple[Where | None, Conditions]:
        """What a gallery is searched by, and what decides which rows of a file are put into it."""
        from stmga.gallery.where import Where

        cameras, persons = self.values.get("camera", ()), self.values.get("person", ())
        where = Where(cameras, persons, self.after, self.before) if cameras or persons or self.timed else None
        return where, Conditions({k: v for k, v in self.values.items() if k not in ("camera", "person")})

    def select(self, embeddings: Embeddings, path: str) -> Embeddings:
        """The rows of a file that fulfil all conditions.

        Raises:
            ValueError: a value that no row has, or no row in the time.
        """
        from stmga.gallery.columns import Columns
        from stmga.gallery.where import Where

        for key, values in self.values.items():
            seen = sorted({str(item[key]) for item in embeddings.items if key in item})
            for value in values:
                if value not in seen:
                    keys = sorted({name for item in embeddings.items for name in item} - {"cover"})
                    hint = f"{key} is {preview(seen)}" if seen else f"the keys are {', '.join(keys)}"
                    raise ValueError(f"{path} has no tracklet with {key}={value}; {hint}")
            embeddings = embeddings.select([str(item.get(key)) in values for item in embeddings.items])
        if self.timed:
            embeddings = embeddings.select(
                Where(after=self.after, before=self.before).rows(Columns.of(embeddings.items))
            )
            if not len(embeddings):
                raise ValueError(f"{path} has no tracklet in that time")
        return embeddings


def _window(text: str) -> tuple[float | None, float | None]:
    start, dots, end = text.partition("..")
    if not dots or not (start or end):
        raise ValueError(f"a time is FROM..TO, where one of them may be missing, each {MOMENT}; got {text!r}")
    return _moment(start), _moment(end)


def _moment(text: str) -> float | None:
    from stmga.people.clock import start_time

    if not text:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return start_time(text)
    except ValueError:
        raise ValueError(f"a time is {MOMENT}; got {text!r}") from None
