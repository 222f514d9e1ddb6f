"""The ``stmga`` command. Every command imports what it needs when it runs, so that help and errors come at once."""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from typing import Any, TextIO, cast

from stmga._version import __version__
from stmga.cli import (
    ablate,
    adapt,
    calibrate,
    compare,
    data,
    demo,
    embed,
    evaluate,
    export,
    gallery,
    link,
    people,
    search,
    teacher,
    track,
    train,
    watch,
    weights,
    whiten,
)  # fmt: skip
from stmga.cli.flags import flags_of, in_flags
from stmga.cli.parser import EXIT_CODES
from stmga.utils.cpu import keep_freed_memory
from stmga.utils.text import did_you_mean, visible

MODULES = (
    demo,
    people,
    track,
    embed,
    search,
    compare,
    gallery,
    watch,
    link,
    weights,
    data,
    evaluate,
    calibrate,
    teacher,
    train,
    ablate,
    whiten,
    adapt,
    export,
)  # in the order of the help
COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    name: run for module in MODULES for name, run in module.COMMANDS.items()
}
COMPUTING = ("ablate", "adapt", "demo", "embed", "teacher", "train", "whiten")  # batch after batch of the same maps


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the result is the exit code."""
    for stream in (sys.stdout, sys.stderr):  # ids are file names: not every one can be printed as it is
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = build_parser()
    words = sys.argv[1:] if argv is None else list(argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        near = did_you_mean(words[0], COMMANDS)
        parser.error(f"there is no command {words[0]!r}; {near or 'stmga --help lists them'}")
    args = parser.parse_args(words)
    own = argv is None  # not called by another program, whose memory settings must not change
    if own and args.command in COMPUTING and os.environ.get("STMGA_KEEP_MEMORY") != "0":
        keep_freed_memory()
    _log_to_terminal()
    logging.getLogger("stmga").setLevel(logging.INFO)
    try:
        with redirect_stdout(cast(TextIO, _VisibleText(sys.stdout))):
            COMMANDS[args.command](args)
    except KeyboardInterrupt:
        print("stmga: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `stmga weights | head` has read enough
        sys.stdout = None  # nothing to flush at exit
        return 0
    except (ValueError, TypeError, OSError, ImportError, RuntimeError) as error:
        if os.environ.get("STMGA_DEBUG"):
            raise
        hint = " (STMGA_DEBUG=1 shows where)" if type(error) in (TypeError, RuntimeError) else ""
        message = in_flags(str(error), flags_of(parser, args))
        print(f"stmga: error: {visible(message)}{hint}", file=sys.stderr)
        return 1
    return 0


class _Visible(logging.Formatter):
    """Escapes control characters in file names and ids, so that they have no effect on the terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return visible(super().format(record))


class _VisibleText:
    """A text stream whose names and ids are written without effect; all else is that of the stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write(visible(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _log_to_terminal() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_Visible("stmga: %(message)s"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line; ``args.command`` is the name of the command."""
    parser = argparse.ArgumentParser(
        prog="stmga",
        description="Person re-identification in video: tracklets in, ranked matches out.",
        epilog=EXIT_CODES,
    )
    parser.add_argument("--version", action="version", version=f"stmga {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for module in MODULES:
        module.add_arguments(commands)
    return parser
