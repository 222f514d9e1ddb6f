"""The model card: a README.md generated only from a weight's record."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from stmga._version import __version__
from stmga.calibration import Calibration
from stmga.config import CUSTOM
from stmga.hub.markdown import WIDTH, cell, code, code_block, inline, wrapped
from stmga.hub.metadata import card_data, title
from stmga.hub.records import WeightRecord
from stmga.utils.text import counted

LIMITS = """\
- **Camera angle.** The public data sets are filmed from head height to a few metres up, and show standing persons
  whole. From steep above, or where legs or head are cut off, what the network compares is not there.
- **Resolution.** Crops are resized to {height} x {width} pixels. Persons who were much smaller in the video, out of
  focus, blurred by motion or strongly compressed have lost the details that tell two of them apart.
- **Occlusion.** A box should hold one person. Another person in the box, bags, railings, and above all a tracker that
  goes over from one person to the next end up in the vector, and nothing in it says so.
- **Clothing.** The vectors say which pictures look alike, clothes and build above all; they do not prove who somebody
  is. People in uniforms or in the same dark coats are confused; a person in other clothes, on another day, is missed.
- **Other places.** Figures and thresholds hold for the data set and protocol named above, and say nothing about other
  cameras, climates, crowds and detectors.
- **Uneven errors.** Data sets of people are uneven in age, sex, skin colour, dress and place, and errors are uneven in
  the same way.
- **Misuse.** Following people across cameras is surveillance. Do not use this to watch, profile or identify people
  without a legal basis and their knowledge, nor to decide anything about a person without a human who checks the
  pictures. The law of the place (in the EU: GDPR and the AI Act) may forbid the use outright."""
WHAT = """\
A network for video-based person re-identification. It turns a tracklet (crops of one person followed by one
camera) into a vector of unit length. Tracklets of the same person get similar vectors."""
ELSEWHERE = """\
A score on one data set says nothing about another place. Measure on your own labelled tracklets, and set
thresholds there, before you rely on an answer."""
FRAMES = """\
The same test with this many frames of each tracklet, evenly spaced, in queries and gallery. The thresholds are
similarities for a false-match rate; in brackets the share of the pairs of one person that reach them."""
SAID_BELOW = ("protocol", "seeds", "spread")  # of a result: too long for a cell of the table


def model_card(record: WeightRecord) -> str:
    """The text of a weight's README.md. What the record does not contain is left out or called unknown."""
    parts = [
        f"---\n{card_data(record).to_yaml()}\n---",
        f"# {inline(title(record))}",
        _what(record),
        "## Use",
        _use(record),
        "## Training data and terms",
        _data(record),
        "## Results",
        _results(record.metrics) or "None measured.",
        *_frames(record.frames),
        *_camera_pairs(record.camera_pairs),
        *_elsewhere(record),
        *_similarities(record.calibration),
        *(("## Speed", _table(record.speed)) if record.speed else ()),
        *_training(record),
        "## Limits and misuse",
        LIMITS.format(height=record.config.size[0], width=record.config.size[1]),
        "## Cite",
        inline(record.paper),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _what(record: WeightRecord) -> str:
    config = record.config
    height, width = config.size
    size = f", {record.megabytes}" if record.megabytes else ""
    return (
        f"{WHAT}\n\n"
        f"- Trunk: {_trunk(record)}; parts: {config.parts}\n"
        f"- Input: clips of {counted(config.clip_length, 'frame')}, {height} x {width} pixels\n"
        f"- File: {code(record.file)}{size}, sha256 `{record.sha256}`\n"
        f"- Written by stmga {__version__}"
    )


def _trunk(record: WeightRecord) -> str:
    config = record.config
    if config.backbone == CUSTOM:
        return "a module of its author's own, which loading needs (`backbone=`)"
    library = f" ({inline(record.trunk_library)})" if record.trunk_library else ""
    return f"{config.backbone}{library}, cut at {config.stage}"


def _use(record: WeightRecord) -> str:
    source = record.repo_id or "path/to/this/folder"
    pin = f', revision="{record.revision}"' if record.repo_id and record.revision else ""
    own = record.config.backbone == CUSTOM
    trunk = ", backbone=trunk" if own else ""
    built = "trunk = ...  # build the module that these weights were trained with\n" if own else ""
    return (
        f"```python\nimport stmga\n\n{built}"
        f'model = stmga.STMGA.from_pretrained("{source}"{pin}{trunk})  # verified against the sha256 above\n'
        "transform = model.record.transform()\n"
        "z = model(transform(frames)[None])  # frames: a list of PIL images; z: (1, model.dim), unit length\n"
        "```"
    )


def _data(record: WeightRecord) -> str:
    data = inline(record.training_data) or "The record of this weight does not say what it was trained on."
    terms = f"**Terms:** {inline(record.terms)}" if record.terms else ""
    asked = "not stated; ask whoever published them before you use them"
    licence = inline(record.licence).removeprefix("other: ")
    licence += " (not a standard licence)" if record.licence.startswith("other: ") else ""
    licence = f"Licence of the weights: {licence or asked}."
    parent = f"Started from {code(record.parent)}, whose terms and licence hold here too." if record.parent else ""
    stages = [{"stage": i, **row} for i, row in enumerate(record.stages, start=1)]
    table = _table(stages) if stages else ""
    parts = (wrapped(data), parent, table, wrapped(terms), wrapped(licence))
    return "\n\n".join(part for part in parts if part)


def _results(metrics: Sequence[Mapping[str, Any]]) -> str:
    """A table of results, followed by what is too long for a cell."""
    if not metrics:
        return ""
    table = _table([{key: row[key] for key in row if key not in SAID_BELOW} for row in metrics])
    return "\n\n".join(filter(None, [table, _said(metrics)]))


def _said(rows: Sequence[Mapping[str, Any]]) -> str:
    """What is too long for a cell, as a list without repeats."""
    said = [f"{key.capitalize()}: {inline(row[key])}" for row in rows for key in SAID_BELOW if key in row]
    return "\n".join(wrapped(text, "- ") for text in dict.fromkeys(said))


def _frames(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    shown = []
    for row in rows:
        cells = {key: value for key, value in row.items() if key != "thresholds"}
        for point in row.get("thresholds", ()):
            rate, share = f"{point['false_match_rate']:g}", f"{point['true_match_rate']:.1%}"
            cells[f"similarity at {rate}"] = f"{point['similarity']:.4f} ({share})"
        shown.append(cells)
    return ["## Frames in a tracklet", FRAMES, _results(shown)]


def _camera_pairs(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A matrix of scores."""
    if not rows:
        return []
    scores = {
        (str(row["query camera"]), str(row["gallery camera"])): "{} / {} ({})".format(
            *(row.get(key, "-") for key in ("rank-1", "mAP", "queries"))
        )
        for row in rows
    }
    # Shorter names first, so that camera 10 comes after 9.
    down, across = (sorted({pair[side] for pair in scores}, key=lambda name: (len(name), name)) for side in (0, 1))
    table = [{"query, gallery": q, **{g: scores.get((q, g), "-") for g in across}} for q in down]
    text = "Rank-1 / mAP (number of queries) by the camera of the query, down, and the camera of the gallery, across."
    return ["## Pairs of cameras", text, _table(table), _said(rows)]


def _elsewhere(record: WeightRecord) -> list[str]:
    if not (record.metrics or record.elsewhere):
        return []
    what = "Networks of this kind that were trained on one data set alone, and tested in another place:"
    shown = [what, _results(record.elsewhere)] if record.elsewhere else []
    return ["## Other places", ELSEWHERE, *shown]


def _similarities(calibration: Calibration | None) -> list[str]:
    if calibration is None:
        return []
    of = f"{calibration.persons:,} persons" + (f" of {inline(calibration.data)}" if calibration.data else "")
    rows = [
        {
            "false-match rate": f"{point.false_match_rate:g}",
            "similarity": f"{point.similarity:.4f}",
            "true-match rate": f"{point.true_match_rate:.2%}",
        }
        for point in calibration.thresholds
    ]
    text = (
        f"Measured on {of}: {calibration.impostor_pairs:,} pairs of different persons, {calibration.genuine_pairs:,} "
        f"of one person. `stmga search` says {replace(calibration, data='').describe()}."
    )
    return ["## What a similarity means", _table(rows), wrapped(text)]


def _training(record: WeightRecord) -> list[str]:
    commands = "\n".join(map(_continued, record.training_command.splitlines()))
    command = code_block(commands, "bash") if commands else ""
    log = f"Log, one JSON line an epoch: {code(record.log)}." if record.log else ""
    return ["## Training", command, log] if command or log else []


def _continued(command: str) -> str:
    """A shell command over several lines, broken before its options.

    >>> print(_continued("stmga train --data a " + "--set erase=0.4 " * 6 + "-o run"))
    stmga train --data a --set erase=0.4 --set erase=0.4 --set erase=0.4 --set erase=0.4 --set erase=0.4 \\
        --set erase=0.4 -o run
    """
    lines = [""]
    for word in re.split(r" (?=--?[a-z])", command):
        if len(lines[-1]) + len(word) > WIDTH and lines[-1].strip():
            lines.append("   ")
        lines[-1] += f" {word}" if lines[-1] else word
    return " \\\n".join(lines)


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [list(map(cell, keys)), ["---"] * len(keys), *([cell(row.get(key, "")) for key in keys] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
