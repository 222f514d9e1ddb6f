"""Folders that are written in several attempts: a JSON file says what was asked, and only the same call resumes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stmga.utils.files import atomic_write
from stmga.utils.text import preview

DIGEST = re.compile("[0-9a-f]{64}")  # a SHA-256: the first 12 digits identify it in a message


@dataclass(frozen=True, kw_only=True)
class FolderClaim:
    """What folders of one kind are for, and what their messages say.

    Attributes:
        file: name of the JSON file that holds what was asked.
        what: what such a folder is, as ``"a pack"``.
        other: what a folder does if it was written for something else, as ``"is a pack of other data"``.
        new: what to do about a folder that cannot be used.
        resume: what to do about a folder that was written for something else; ``{folder}`` stands for its path.
        named: values that mean nothing to a reader, with the phrase that a message has instead.
        error: what is raised.

    >>> import tempfile
    >>> pack = FolderClaim(file="pack.json", what="a pack", other="is a pack of other data")
    >>> with tempfile.TemporaryDirectory() as root:
    ...     pack.take(root, {"frames": 3}), pack.take(root, {"frames": 3})
    (False, True)
    """

    file: str
    what: str
    other: str
    new: str = "Name a new or an empty folder"
    resume: str = "Name a new folder, or delete that one"
    named: Mapping[str, str] | None = None
    error: Callable[[str], Exception] = ValueError

    def take(self, folder: str | Path, about: Mapping[str, Any]) -> bool:
        """Claim a new or empty folder for ``about``, or one that the same ``about`` has claimed before.

        Temporary files and folders that a killed process left in a claimed folder, or one level below, are removed.

        Args:
            folder: is made with its parents where there is none.
            about: everything that decides what is written, as JSON values.

        Returns:
            Whether the folder was claimed before, so that there may be something to resume.

        Raises:
            ``error``: the folder holds anything else; nothing in it is changed.
            OSError: it cannot be read or written.
        """
        folder = Path(folder)
        known = self.check(folder, about)
        folder.mkdir(parents=True, exist_ok=True)
        if not known:
            atomic_write(folder / self.file, _json(about))
        for left in [*folder.glob(".*.tmp"), *folder.glob("*/.*.tmp")]:
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink(missing_ok=True)
        return known

    def check(self, folder: str | Path, about: Mapping[str, Any]) -> bool:
        """Whether the folder is claimed already, for the same; changes nothing. Raises as :meth:`take` does."""
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise self.error(f"{folder} is a file, not a folder. {self.new}")
        file = folder / self.file
        if not file.is_file():
            self._check_empty(folder)
            return False
        differ = list(_differences(self._read(file), _as_read(about)))
        if differ:
            text = "; ".join(self._difference(*difference) for difference in differ)
            raise self.error(f"{folder} {self.other}: {text}. {self.resume.format(folder=folder)}")
        return True

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            about = json.loads(file.read_text("utf-8", "surrogateescape"))
            if not isinstance(about, dict):
                raise ValueError(f"expected an object {{...}}, got {type(about).__name__}")
        except ValueError as error:
            raise self.error(f"{file} is damaged ({error}). {self.new}") from error
        return about

    def _check_empty(self, folder: Path) -> None:
        """An unclaimed folder may hold one thing: the half of a claim, whose process was killed."""
        entries = sorted(folder.iterdir()) if folder.exists() else []
        if found := [entry.name for entry in entries if not entry.match(f".{self.file}.*.tmp")]:
            raise self.error(f"{folder} is not {self.what} and not empty ({preview(found)}). {self.new}")

    def _difference(self, name: str, before: Any, now: Any) -> str:
        return (self.named or {}).get(name) or f"{name} was {_short(before)}, now {_short(now)}"


def _json(about: Mapping[str, Any]) -> bytes:
    return (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")


def _as_read(about: Mapping[str, Any]) -> dict[str, Any]:
    """What ``about`` is when it comes back from its file: JSON knows only lists."""
    return dict(json.loads(json.dumps(about)))


def _short(value: Any) -> str:
    return repr(f"{value[:12]}..." if isinstance(value, str) and DIGEST.fullmatch(value) else value)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(name, value before, value now) of every setting that is not the same, nested ones with a dotted name."""
    for key in [*before.keys(), *(key for key in now if key not in before)]:
        old, new, name = before.get(key), now.get(key), f"{at}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}.")
        elif old != new:
            yield name, old, new
