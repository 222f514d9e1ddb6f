"""Folders that may be written in several attempts: a JSON file has the arguments, and only the same call resumes."""

from __future__ import annotations

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from stmga.utils.files import atomic_write
from stmga.utils.foreign import MB, escaped, parse_json, read_regular
from stmga.utils.lock import OutputBusyError, output_lock
from stmga.utils.text import preview

logger = logging.getLogger(__name__)

DIGEST = re.compile("[0-9a-f]{64}")  # a SHA-256: the first 12 digits identify it in a message
INPUTS = ".inputs.jsonl"
CLAIM_LIMIT = 16 * MB  # of the JSON file, which has a few kB
INPUTS_LIMIT = 1024 * MB  # a million frames are 12 MB


class Inputs(Protocol):
    """A record of the input files of a folder, with what identifies each. It may be large."""

    def to_bytes(self) -> bytes:
        """The record."""

    def difference(self, before: bytes) -> str:
        """What has changed since an earlier record, as text; "" if nothing has."""


@dataclass(frozen=True, kw_only=True)
class FolderClaim:
    """The purpose of folders of one kind, and their messages.

    Attributes:
        file: name of the JSON file with the arguments.
        what: what such a folder is, such as ``"a pack"``.
        other: how a message describes a folder of other arguments, such as ``"is a pack of other data"``.
        new: what to do about a folder that cannot be used.
        resume: what to do about a folder of other arguments; ``{folder}`` stands for its path.
        named: values that mean nothing to a reader, and the phrase that replaces each in messages.
        describe: the text for (dotted name, value before, value now) of a setting that differs; "" for the usual.
        error: what is raised.

    >>> import tempfile
    >>> pack = FolderClaim(file="pack.json", what="a pack", other="is a pack of other data")
    >>> with tempfile.TemporaryDirectory() as root:
    ...     for _ in range(2):
    ...         with pack.hold(root, {"frames": 3}) as claimed_before:
    ...             print(claimed_before)
    False
    True
    """

    file: str
    what: str
    other: str
    new: str = "Name a new or an empty folder"
    resume: str = "Name a new folder, or delete that one"
    named: Mapping[str, str] | None = None
    describe: Callable[[str, Any, Any], str] = lambda name, before, now: ""
    error: Callable[[str], Exception] = ValueError

    @contextmanager
    def hold(self, folder: str | Path, about: Mapping[str, Any], inputs: Inputs | None = None) -> Iterator[bool]:
        """Claim a new or empty folder for ``about``, or one that the same ``about`` has claimed before.

        Inside, no other process can claim the folder. Temporary files and folders that a killed process left in it, or
        one level below, are removed.

        Args:
            folder: created with its parents if missing.
            about: everything that the output depends on, as JSON values.
            inputs: the input files.

        Yields:
            True if the folder was claimed before: there may be something to resume.

        Raises:
            ``error``: the folder holds anything else, or another process writes it; nothing in it is changed.
            OSError: it cannot be read or written.
        """
        folder = Path(folder)
        self.check(folder, about, inputs)  # before anything is created
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            try:
                held.enter_context(output_lock(folder))
            except OutputBusyError as error:
                raise self.error(f"{folder}: {error.strerror}, or name another folder") from error
            known = self.check(folder, about, inputs)
            for left in [*folder.glob(".*.tmp"), *folder.glob(".*.lock"), *folder.glob("*/.*.tmp")]:
                shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink(missing_ok=True)
            if inputs is not None and not (known and (folder / INPUTS).is_file()):
                atomic_write(folder / INPUTS, inputs.to_bytes())  # before the claim: a claimed folder has it
            if not known:
                atomic_write(folder / self.file, _json(about))
            yield known

    def check(self, folder: str | Path, about: Mapping[str, Any], inputs: Inputs | None = None) -> bool:
        """Whether the folder is already claimed for the same; changes nothing. Raises as :meth:`hold` does."""
        folder = Path(folder)
        if folder.exists() and not folder.is_dir():
            raise self.error(f"{folder} is a file, not a folder. {self.new}")
        file = folder / self.file
        if not file.is_file():
            self._check_empty(folder)
            return False
        differences = [self._difference(*found) for found in _differences(self._read(file), _as_read(about))]
        differ = list(dict.fromkeys(differences))  # several values may have one phrase
        if inputs is not None:
            differ += filter(None, [self._other_inputs(folder / INPUTS, inputs)])
        if differ:
            raise self.error(f"{folder} {self.other}: {'; '.join(differ)}. {self.resume.format(folder=folder)}")
        return True

    def _other_inputs(self, file: Path, inputs: Inputs) -> str:
        if not file.is_file():
            logger.warning("%s has no record of its input files: whether they changed is unknown", file.parent)
            return ""
        try:
            return inputs.difference(read_regular(file, INPUTS_LIMIT))
        except OSError as error:
            return f"{file.name} cannot be read ({error.strerror})"

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            about = parse_json(read_regular(file, CLAIM_LIMIT).decode("utf-8", "surrogateescape"))
            if not isinstance(about, dict):
                raise ValueError(f"expected an object {{...}}, got {type(about).__name__}")
        except (ValueError, OSError, RecursionError) as error:
            reason = escaped((isinstance(error, OSError) and error.strerror) or str(error), 200)
            raise self.error(f"{file} is damaged ({reason}). {self.new}") from error
        return about

    def _check_empty(self, folder: Path) -> None:
        """An unclaimed folder may hold half a claim, of a process that was killed or has just started."""
        entries = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
        half = re.compile(rf"\.lock|{re.escape(INPUTS)}|\.({re.escape(self.file)}|{re.escape(INPUTS)})\..*(tmp|lock)")
        if found := [name for name in entries if not half.fullmatch(name)]:
            raise self.error(f"{folder} is not {self.what} and not empty ({preview(found)}). {self.new}")

    def _difference(self, name: str, before: Any, now: Any) -> str:
        phrase = (self.named or {}).get(name) or self.describe(name, before, now)
        return phrase or f"{name} was {_short(before)}, now {_short(now)}"


def _json(about: Mapping[str, Any]) -> bytes:
    return (json.dumps(about, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")


def _as_read(about: Mapping[str, Any]) -> dict[str, Any]:
    """``about`` as it is read back from its file: JSON has only lists."""
    return dict(json.loads(json.dumps(about)))


def _short(value: Any) -> str:
    return repr(f"{value[:12]}..." if isinstance(value, str) and DIGEST.fullmatch(value) else value)


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(name, value before, value now) of every changed setting; nested ones have dotted names."""
    for key in [*before.keys(), *(key for key in now if key not in before)]:
        old, new, name = before.get(key), now.get(key), f"{at}{key}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _differences(old, new, f"{name}.")
        elif old != new:
            yield name, old, new
