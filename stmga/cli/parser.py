"""What every command's arguments share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from stmga.utils.foreign import fast_json

EXIT_CODES = """exit codes: 0 done; 1 it could not be done, the message says why (STMGA_DEBUG=1 shows where);
2 the command is written wrongly; 130 interrupted"""


def command(commands: Any, name: str, summary: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n{example}\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_start(add: Callable[..., Any]) -> None:
    """The argument for the weights that a command makes others from."""
    words = "the weights to start from: a name, a folder, a run's best/, a Hub id (default: stmga_resnet18_c4)"
    add("--from", dest="start", metavar="WEIGHT", default="stmga_resnet18_c4", help=words)


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return number


def is_main_process() -> bool:
    """Whether this process prints and writes: torchrun may have started several."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str, file: Any = None) -> None:
    """Print once, however many processes torchrun started."""
    if is_main_process():
        print(text, file=file or sys.stdout, flush=True)


def check_exists(path: str) -> None:
    """Check that the path exists, before the weights are loaded."""
    if not Path(path).exists():
        raise FileNotFoundError(f"{path} does not exist")


def check_writable(path: str) -> None:
    """Check that the path can be written, before minutes of work."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} does not exist; create it first")
    if Path(path).is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file to write")


def folder_named(text: str) -> Path:
    """The folder of -o, which may be missing.

    Raises:
        ValueError: no name.
        NotADirectoryError: a file has that name, or one of its parents is a file.
    """
    if not text:
        raise ValueError("-o is empty: give the name of a folder")
    for path in (Path(text), *Path(text).parents):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(f"{path} is a file; give -o the name of a folder")
    return Path(text)


def key_values(texts: Sequence[str], option: str) -> dict[str, Any]:
    """The values of an option that is given as KEY=VALUE, several times: ``["margin=0.2"]`` as ``{"margin": 0.2}``.

    Raises:
        ValueError: a text without "=".
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign:
            raise ValueError(f"{option} takes KEY=VALUE, got {text!r}")
        found[key] = _value(value)
    return found


def _value(text: str) -> Any:
    """``"0.3"`` as a number, ``"null"`` as None, ``"[1,2]"`` as a list, other text as it is."""
    try:
        return fast_json(text)
    except ValueError:
        return text
