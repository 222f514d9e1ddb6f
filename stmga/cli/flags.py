"""The library's errors name Python arguments; the command line replaces them by its flags."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Mapping

# Names in errors that differ from the flag's.
OTHERS = {"calibrate": {"false-match rates": "--rates"}}
# A name of one word is an argument only where the sentence treats it so: "holdout is a share", "leave holdout at 0".
_CLAUSE = re.compile(r"(^|[;:,(] |\b(and|or|both|leave|leave out|set|give|without) )$")
_VERB = re.compile(r" (must|is|are|names|and|at|out|too|needs|goes|without|aggregates|exclude|-?\d+)\b|$")


def in_flags(message: str, flags: Mapping[str, str]) -> str:
    """``message`` with flags instead of arguments.

    >>> in_flags("clip_length must be >= 1, got 0; or set lr=0.1", {"clip_length": "--clip-length", "lr": "--lr"})
    '--clip-length must be >= 1, got 0; or set --lr 0.1'
    """
    if not flags:
        return message
    names = "|".join(sorted(map(re.escape, flags), key=len, reverse=True))

    def flag(match: re.Match[str]) -> str:
        name, assigned = match.groups()
        found = flags[name]
        if assigned:
            return f"{found}=" if " " in found else f"{found} "
        before, after = message[: match.start()], message[match.end() :]
        plain = re.fullmatch("[a-z0-9]+", name) is not None
        return found if not plain or (_CLAUSE.search(before) and _VERB.match(after)) else name

    message, separator, settings = message.partition("; it has ")  # a list of settings stays as it is
    # Part of a path, of a flag, of a quoted word or of a longer name is not an argument.
    text = re.sub(rf"(?<![\w./\\'\"`-])({names})(?![\w/\\`-]|\.\w)(=(?!=))?", flag, message)
    return re.sub(r"(--[\w-]+) \(\1\)", r"\1", text) + separator + settings


def flags_of(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, str]:
    """The flag of every argument that an error of ``args.command`` may name; ``parser`` is that of all commands."""
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    found = dict(_settings(args)) if hasattr(args, "changes") else {}
    for action in commands.choices[args.command]._actions:
        options = [option for option in action.option_strings if option.startswith("--")]
        if not options:
            continue
        found[action.dest] = options[0]
        if action.nargs == 0:  # a switch
            found[f"{action.dest}=True"] = options[0]
            found |= {f"{action.dest}=False": option for option in options if option.startswith("--no-")}
    return found | _typed(args) | OTHERS.get(args.command, {})


def _settings(args: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """What --net and --set change."""
    from stmga.config import STMGAConfig
    from stmga.train.config import TrainConfig
    from stmga.utils.settings import hints

    for option, settings in (("--net", STMGAConfig), ("--set", TrainConfig)):
        yield f"{settings.__name__} has no setting", f"{option} has no setting"
        yield from ((name, f"{option} {name}") for name in hints(settings))


def _typed(args: argparse.Namespace) -> dict[str, str]:
    """Settings that were given by --net or --set, though they have flags of their own."""
    typed = {"--net": getattr(args, "network", []), "--set": getattr(args, "changes", [])}
    named = [(text.partition("=")[0], option) for option, texts in typed.items() for text in texts]
    return {name: f"{option} {name}" for name, option in named if name}
