"""The command that adapts a network to a site without labels."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from stmga.cli.options import add_max_pixels, add_precision, add_training_process, trained
from stmga.cli.parser import add_start, check_exists, command, count, folder_named, key_values

LAYOUT = "{tracklet}"
DIRECT = ("rounds", "steps", "lr", "false_match_rate", "only_norms", "precision", "seed")  # settings with own flags


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga adapt tracks/manifest.jsonl -o runs/site
  stmga adapt cameras/ --layout "{camera}/{tracklet}" --from stmga_resnet18_c4.market_cuhk03_256 -o runs/site
  stmga adapt tracks/manifest.jsonl --only-norms -o runs/norms
  stmga embed tracks/manifest.jsonl --model runs/site/best -o site.safetensors

Killed? Run the same command again: it resumes."""
    parser = command(commands, "adapt", "adapt a network to the cameras of a site, without labels", example)
    add = parser.add_argument
    add("source", metavar="TRACKLETS", help="a folder of folders of crops, or a .jsonl manifest, of all cameras")
    add_start(add)
    add("-o", "--out", metavar="FOLDER", required=True, help="the adaptation; resumed if it is there")
    add(
        "--layout", default=LAYOUT,
        help='what folders mean, as "{camera}/{tracklet}" (default: "{tracklet}"); persons are not used',
    )  # fmt: skip
    add_max_pixels(add)
    _add_settings(parser.add_argument_group("adaptation").add_argument)
    add = parser.add_argument_group("run").add_argument
    add_training_process(add)


def _add_settings(add: Callable[..., Any]) -> None:
    """What the result depends on, beside weights and tracklets."""
    add("--rounds", type=count, help="of linking and training (default: 5)")
    add("--steps", type=count, help="batches in a round (default: 120)")
    add("--lr", type=float, help="learning rate (default: 4e-4)")
    add(
        "--false-match-rate", type=float, metavar="RATE",
        help="link at the threshold that the calibration has for this rate (default: 0.001)",
    )  # fmt: skip
    add(
        "--only-norms", action="store_true", default=None,
        help="only measure the statistics of the batch norms on these frames: one pass, no training",
    )  # fmt: skip
    add_precision(add, "of training and embedding", default=None)
    add("--seed", type=int, help="of sampling and augmentation (default: 0)")
    add(
        "--set", dest="settings", metavar="KEY=VALUE", action="append", default=[],
        help="any other setting, as keep=0.7 or times=false; see stmga.train.AdaptConfig",
    )  # fmt: skip


def adapt(args: argparse.Namespace) -> None:
    """Adapt, print a line for every round, and say which one was kept."""
    from stmga.tracklets.readers import read_tracklets
    from stmga.train import AdaptConfig, StoppedError
    from stmga.train import adapt as run
    from stmga.train.adaptation.site import Site

    folder = folder_named(args.out)
    check_exists(args.source)
    config = AdaptConfig.from_dict(_settings(args))
    tracklets = read_tracklets(args.source, layout=args.layout, max_pixels=args.max_pixels)
    site = Site(tracklets, frames=config.frames, times=config.times)
    for line in site.describe():
        print(f"site      {line}")
    if any(tracklet.person is not None for tracklet in tracklets):
        print("persons   are known for some tracklets, and are not used")
    model, name = trained(args.start)
    print(f"weights   {name}")
    training = "measures the batch norms" if config.only_norms else f"trains {config.steps} batches"
    print(f"a round   embeds {site.frames:,} frames, and {training}", flush=True)
    print(HEADER, flush=True)
    try:
        found = run(
            model, tracklets, folder, config, name=_name(args.source), started_from=name, device=args.device,
            workers=args.workers, keep_frames=args.keep_frames, progress=not args.quiet,
            trust_content=args.trust_content, watch=lambda row: print(_line(row), flush=True),
        )  # fmt: skip
    except StoppedError as stopped:
        print(f"stmga: {stopped}", file=sys.stderr)
        sys.exit(128 + stopped.signum)
    if found.stopped:
        print(f"stopped   {found.stopped}")
    if found.best == 0:
        print("kept      the weights it started from: no round has a better score")
    else:
        gain = found.rounds[found.best]["score"] - found.rounds[0]["score"]
        print(f"kept      round {found.best}: its score is {gain:.3f} above the start's")
    print(f"weights   {found.weights}: stmga embed SOURCE --model {found.weights} -o vectors.safetensors")


HEADER = "\nround  score  agreement  silhouette  margin  as before  persons  alone  trained on  seconds"


def _line(row: Mapping[str, Any]) -> str:
    """A row of the table of rounds."""
    if "score" not in row:
        return f"{row['round']:5}      -"
    margin, before = ("-" if row.get(key) is None else f"{row[key]:.3f}" for key in ("margin", "same_as_before"))
    scores = f"{row['score']:.3f}  {row['agreement']:9.3f}  {row['silhouette']:10.3f}  {margin:>6}  {before:>9}"
    counts = f"{row['identities']:7,}  {row['alone']:5,}  {row['trained_on']:10,}"
    return f"{row['round']:5}  {scores}  {counts}  {sum(row['seconds'].values()):7.0f}"


def _settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that were given."""
    given = {key: getattr(args, key) for key in DIRECT if getattr(args, key) is not None}
    return key_values(args.settings, "--set") | given


def _name(source: str) -> str:
    """What the record calls the site: the folder of a manifest or of crops."""
    path = Path(source).absolute()
    return path.parent.name if path.name in ("manifest.jsonl", "index.jsonl") else path.stem


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"adapt": adapt}
