"""The command that says whether two tracklets show the same person."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.options import MODEL, add_device, best_device, trained
from stmga.cli.parser import check_exists, command
from stmga.utils.foreign import escaped
from stmga.utils.text import counted, did_you_mean, preview

if TYPE_CHECKING:
    from stmga.embedding.comparison import Comparison

FILE = ".safetensors"


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga compare ann.jpg somebody.jpg
  stmga compare crops/0001 crops/0002
  stmga compare door.safetensors:door-3 hall.safetensors:hall-1"""
    add = command(commands, "compare", "say whether two tracklets show the same person", example).add_argument
    what = "an image, a folder of images of one person, or FILE.safetensors:TRACKLET of `stmga embed`"
    add("a", metavar="A", help=what)
    add("b", metavar="B", help="the same")
    add("--model", metavar="NAME", default=MODEL, help=f"weights, for images (default: {MODEL})")
    add(
        "--false-match-rate", type=float, metavar="RATE",
        help="take the threshold that the calibration has for this rate (default: 0.001)",
    )  # fmt: skip
    add_device(add)


def compare(args: argparse.Namespace) -> None:
    """Similarity, verdict, threshold and calibration of two tracklets."""
    from stmga.embedding.comparison import compare as compare_
    from stmga.embedding.comparison import one_tracklet
    from stmga.embedding.embedder import TrackletEmbedder
    from stmga.embedding.embeddings import Embeddings

    sides: list[Any] = []
    for text in (args.a, args.b):  # both are read before the weights are loaded
        file, name = _file_and_name(text)
        if file is None:
            check_exists(text)
        sides.append(one_tracklet(text) if file is None else _row(file, name))
    embedder = None
    if not all(isinstance(side, Embeddings) for side in sides):
        model, weights = trained(args.model)
        embedder = TrackletEmbedder(model, device=args.device or best_device())
    else:
        weights = escaped(sides[0].model) or "unnamed weights"
    _print(compare_(*sides, model=embedder, false_match_rate=args.false_match_rate), weights)


def _file_and_name(text: str) -> tuple[Path | None, str]:
    """``FILE.safetensors:TRACKLET`` as a file and a name; no file for anything else."""
    if Path(text).suffix == FILE:
        return Path(text), ""
    start, suffix, name = text.partition(FILE + ":")
    return (Path(start + FILE), name) if suffix and not Path(text).exists() else (None, "")


def _row(file: Path, name: str) -> Any:
    """One row of a file of embeddings."""
    from stmga.embedding.embeddings import Embeddings

    embeddings = Embeddings.load(file)
    if not name:
        if len(embeddings) != 1:
            raise ValueError(f"{file} has {counted(len(embeddings), 'tracklet')}: write {file}:TRACKLET, one of "
                             f"{preview(embeddings.ids)}")  # fmt: skip
        return embeddings
    if name not in embeddings:
        hint = did_you_mean(name, embeddings.ids) or f"the tracklets are {preview(embeddings.ids)}"
        raise ValueError(f"{file} has no tracklet {name!r}; {hint}")
    return embeddings.select([embeddings.ids.index(name)])


def _print(found: Comparison, weights: str) -> None:
    frames = [counted(n, "frame") for n in found.frames if n is not None]
    print(f"vectors    by {weights}" + (f", of {' and '.join(frames)}" if frames else ""))
    print(f"similarity {found.similarity:.3f}")
    if found.calibration is None or found.threshold is None:
        print("verdict    none, because the vectors have no calibration; `stmga calibrate` measures one")
        return
    point, lower = found.threshold, min(found.calibration.lower, found.threshold.similarity)
    few = f" on tracklets of {counted(found.measured_frames, 'frame')}" if found.measured_frames else ""
    print(f"verdict    {found.verdict}: same from {point.similarity:.3f}, other below {lower:.3f}")
    print(f"threshold  for a false-match rate of {point.false_match_rate:g}{few} (true-match rate "
          f"{point.true_match_rate:.1%}); measured on {escaped(found.calibration.data) or 'unknown data'}")  # fmt: skip
    print("A similarity is not proof of identity.")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"compare": compare}
