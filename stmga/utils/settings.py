"""Settings as frozen dataclasses: checked completely, and converted to and from plain data."""

from __future__ import annotations

import re
import types
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from functools import cache
from math import inf
from typing import Any, ClassVar, TypeVar, get_args, get_origin, get_type_hints

from stmga.utils.foreign import shown
from stmga.utils.text import did_you_mean

S = TypeVar("S", bound="Settings")
NAMES = {bool: "true or false", int: "an integer", float: "a finite number", str: "text", types.NoneType: "None"}
PLURALS = {int: "integers", float: "finite numbers", str: "texts"}


class Settings:
    """Base of a frozen dataclass of settings, all with defaults, of plain values and tuples of them.

    A subclass may name the ``CHOICES`` of a setting and yield what else is wrong from ``_faults``. All faults are
    joined in one error. A list becomes a tuple, and one value may stand for a tuple of any length.

    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class Size(Settings):
    ...     height: int = 256
    ...     width: int = 128
    ...     def _faults(self):
    ...         if self.height < 1:
    ...             yield self.must("height", "be > 0")
    >>> Size(height=0, width="wide")
    Traceback (most recent call last):
    ValueError: invalid Size: width must be an integer, got 'wide'; height must be > 0, got 0
    >>> Size.from_dict({"hight": 9})
    Traceback (most recent call last):
    ValueError: Size has no setting 'hight'; did you mean 'height'?

    Raises:
        ValueError: everything that is wrong with the settings.
    """

    CHOICES: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __post_init__(self) -> None:
        for name, hint in hints(type(self)).items():
            object.__setattr__(self, name, _as_tuple(getattr(self, name), hint))
        if faults := list(self._all_faults()):
            raise ValueError(f"invalid {type(self).__name__}: {'; '.join(faults)}")

    def must(self, name: str, what: str) -> str:
        """A fault as text: the setting ``name`` must ``what``, but has another value."""
        return f"{name} must {what}, got {shown(_as_list(getattr(self, name)))}"

    def _faults(self) -> Iterable[str]:
        """Values out of range, and values that contradict each other. Types have been checked already."""
        return ()

    def _all_faults(self) -> Iterable[str]:
        defaults: dict[str, Any] = {field.name: field.default for field in fields(self)}  # type: ignore[arg-type]
        wrong = {}
        for name, hint in hints(type(self)).items():
            value = getattr(self, name)
            if name in self.CHOICES and value not in self.CHOICES[name]:
                yield self.must(name, f"be one of {', '.join(map(repr, self.CHOICES[name]))}")
            elif not _fits(value, hint):
                yield self.must(name, f"be {_described(hint)}")
            else:
                continue
            wrong[name] = defaults[name]
        # Defaults replace values of a wrong type, so that the rest is checked too.
        rest = object.__new__(type(self))
        rest.__dict__.update(vars(self) | wrong)
        yield from (fault for fault in rest._faults() if not any(re.search(rf"\b{name}\b", fault) for name in wrong))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; tuples become lists."""
        return {name: _as_list(value) for name, value in asdict(self).items()}  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls: type[S], data: Mapping[str, Any]) -> S:
        """The inverse of :meth:`to_dict`.

        Raises:
            ValueError: an unknown key, with the closest known one; or wrong values.
        """
        known = list(hints(cls))
        if unknown := [name for name in data if name not in known]:
            hint = " ".join(filter(None, (did_you_mean(str(name), known) for name in unknown)))
            hint = hint or f"it has {', '.join(known)}"
            raise ValueError(f"{cls.__name__} has no setting {' or '.join(map(repr, unknown))}; {hint}")
        return cls(**data)


def hints(cls: Any) -> dict[str, Any]:
    """The type of every setting of a class, by name."""
    return _hints(cls)


@cache
def _hints(cls: Any) -> dict[str, Any]:
    found = get_type_hints(cls)
    return {field.name: found[field.name] for field in fields(cls)}


def _as_list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _as_tuple(value: Any, hint: Any) -> Any:
    """A tuple for a list, or for a single value where a tuple may have any length."""
    if get_origin(hint) is not tuple:
        return value
    if isinstance(value, list):
        return tuple(value)
    return (value,) if ... in get_args(hint) and not isinstance(value, tuple) else value


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value has a type; an int is also a float, but True is not a number."""
    kinds = get_args(hint)
    if get_origin(hint) is tuple:
        every = kinds[:1] * len(value) if ... in kinds and isinstance(value, tuple) else kinds
        return isinstance(value, tuple) and len(value) == len(every) and all(map(_fits, value, every))
    if kinds:
        return any(_fits(value, kind) for kind in kinds)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and -inf < value < inf
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _described(hint: Any) -> str:
    """``tuple[int, int]`` as ``"a list of 2 integers"``."""
    kinds = get_args(hint)
    if get_origin(hint) is tuple:
        number = "" if ... in kinds else f"{len(kinds)} "
        return f"a list of {number}{PLURALS.get(kinds[0], 'values')}"
    if kinds:
        return " or ".join(map(_described, kinds))
    return NAMES.get(hint) or f"a {hint.__name__}"
