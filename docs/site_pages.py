"""MkDocs hook: generates the pages of commands and weights at every build, and renders equations as MathML.

Commands come from the parser and weights from their records, so the pages always match the library.
"""

from __future__ import annotations

import argparse
import html
import re
import textwrap
from typing import Any

from stmga.cli.parser import EXIT_CODES


def pages() -> dict[str, str]:
    """Every generated page: path below docs/ -> Markdown."""
    return {**command_pages(), **weight_pages()}


def on_config(config: Any) -> Any:
    """Add the generated pages to the navigation, below the two entries that mkdocs.yml names."""
    reference = next(entry["Reference"] for entry in config.nav if "Reference" in entry)
    for part in ("commands", "weights"):
        entry = next(e for e in reference if f"reference/{part}/index.md" in e.values())
        (title,) = entry
        entry[title] = [page for page in pages() if page.startswith(f"reference/{part}/")]
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the generated pages to the site."""
    from mkdocs.structure.files import File

    for path, text in pages().items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_content(content: str, **_: Any) -> str:
    """Render ``\\(...\\)`` and ``\\[...\\]`` as MathML, which browsers render without a script or a web font."""
    from latex2mathml.converter import convert

    def mathml(found: re.Match[str]) -> str:
        display = "block" if found["tag"] == "div" else "inline"
        equation = convert(html.unescape(found["tex"]).strip(), display=display)
        return f'<div class="equation">{equation}</div>' if display == "block" else equation

    return re.sub(
        r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<tex>.*?)\\[)\]]</(?P=tag)>', mathml, content, flags=re.DOTALL
    )


def command_pages() -> dict[str, str]:
    """One page for each command, and their list."""
    from stmga.cli.main import build_parser

    (commands,) = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    summaries = {action.dest: action.help or "" for action in commands._choices_actions}
    rows = [f"| [`stmga {name}`]({name}.md) | {_cell(summary)} |" for name, summary in summaries.items()]
    lines = ["# Commands", "", "| command | what it does |", "| --- | --- |", *rows, ""]
    lines += ["`stmga COMMAND --help` prints what these pages show.", "", EXIT_CODES[0].upper() + EXIT_CODES[1:] + "."]
    made = {"reference/commands/index.md": "\n".join(lines) + "\n"}
    return made | {f"reference/commands/{n}.md": _command(n, p) for n, p in commands.choices.items()}


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    formatter = argparse.HelpFormatter(parser.prog, width=84)
    formatter.add_usage(parser.usage, parser._actions, parser._mutually_exclusive_groups, prefix="")
    blocks = [f"# stmga {name}", parser.description or "", f"```text\n{formatter.format_help().strip()}\n```"]
    for group in parser._action_groups:
        rows = [_option(action) for action in group._group_actions if action.help != argparse.SUPPRESS]
        if rows:
            blocks += [f"## {(group.title or '').capitalize()}", *filter(None, [group.description])]
            blocks.append("\n".join(["| argument | meaning |", "| --- | --- |", *rows]))
    return "\n\n".join([*blocks, *_epilog(parser.epilog or "")]) + "\n"


def _epilog(text: str) -> list[str]:
    """The examples as code, and what the help says after them."""
    examples, *notes = text.removesuffix(EXIT_CODES).strip().removeprefix("example:\n").split("\n\n")
    return [f"## Example\n\n```bash\n{textwrap.dedent(examples)}\n```", *notes]


def _option(action: argparse.Action) -> str:
    """One row: flags and value, then the help text, the choices and the default."""
    value = action.metavar or (action.dest if not action.option_strings else action.dest.upper())
    value = " ".join(value) if isinstance(value, tuple) else value
    takes = "" if action.nargs == 0 or action.choices else f" {value}"
    flags = ", ".join(f"`{flag}{takes}`" for flag in action.option_strings) or f"`{value}`"
    text = argparse.HelpFormatter("stmga")._expand_help(action) if action.help else ""
    if action.choices:
        text += f" ({', '.join(f'`{choice}`' for choice in action.choices)})"
    plain = isinstance(action.default, str | int | float) and not isinstance(action.default, bool)
    if plain and action.default != argparse.SUPPRESS and "default" not in text and str(action.default):
        text += f" [default: {action.default}]"
    return f"| {_cell(flags)} | {_cell(text)} |"


def weight_pages() -> dict[str, str]:
    """The table of weights, and the card of each."""
    from stmga.hub.card import model_card
    from stmga.zoo import get_weights, list_weights

    head = "| weight | input | parameters | vector | file | mAP | rank-1 | threshold |"
    rows = [head, "| --- " * 8 + "|", *(_weight(get_weights(name)) for name in list_weights())]
    made = {"reference/weights/index.md": "\n".join([WEIGHTS_HEAD, *rows, "", WEIGHTS_NOTES])}
    for name in list_weights():
        card = re.sub(r"\A---\n.*?\n---\n", "", model_card(get_weights(name)), flags=re.DOTALL)
        # The site has no folder to load from; the weights of the table load by name.
        load = f'stmga.create_model("{name}")'
        made[f"reference/weights/{name}.md"] = card.replace('stmga.STMGA.from_pretrained("path/to/this/folder")', load)
    return made


WEIGHTS_HEAD = """\
---
hide: [toc]
---
# Weights

Each name links to the card: training data, terms, figures, limits.
"""
WEIGHTS_NOTES = """\
Scores are in %, on the data set named on the card. `mars8-dev` is a half-resolution subset of the MARS test set:
these are not MARS figures. Input is frames x height x width.
*Threshold* is the similarity that 0.1 % of the pairs of different persons reach on that set
([choosing a threshold](../../train/evaluation.md#choosing-a-threshold)).
How to load a weight: [Weights and loading](../../use/weights.md).
"""


def _weight(record: Any) -> str:
    import torch

    from stmga.model import STMGA

    with torch.device("meta"):
        model = STMGA(record.config)
    parameters = f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M"
    scores = dict(record.metrics[0]) if record.metrics else {}
    same = f"{record.calibration.threshold(1e-3).similarity:.3f}" if record.calibration else ""
    shape = " x ".join(map(str, (record.config.clip_length, *record.config.size)))
    cells = [f"[`{record.name}`]({record.name}.md)", shape, parameters, model.dim, record.megabytes]
    cells += [scores.get("mAP", ""), scores.get("rank-1", ""), same]
    return f"| {' | '.join(str(cell).replace(' ', '&nbsp;') for cell in cells)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;").split())
