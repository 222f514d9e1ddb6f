"""The command that trains, and what it shares with ablate. Everything heavy is imported when a command runs."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.options import add_precision, add_training_data, add_training_process, trained, training_data
from stmga.cli.parser import command, count, key_values, say

if TYPE_CHECKING:
    from stmga.config import STMGAConfig
    from stmga.data.benchmark import Benchmark
    from stmga.model import STMGA
    from stmga.train import Stage, TrainConfig


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga train --data labelled/ --layout "{person}/{camera}/{tracklet}" --holdout 0.2 -o runs/mine
  stmga train --data MARS/ --model stmga_resnet50 --backbone-weights imagenet -o runs/mars --precision bf16
  stmga train --data labelled.pack --holdout 0.2 --from stmga_resnet18_c4 --recipe small -o runs/tuned
  stmga train --data cuhk03/ market.jsonl --test mine.jsonl --recipe crops -o runs/crops
  stmga train --data market/ cuhk03/ --test mine/ --model stmga_resnet18_c4_baseline --recipe crops -o runs/trunk
  stmga train --data market/ cuhk03/ --test mine/ --after runs/trunk --recipe clips -o runs/heads
  stmga train --data market/ --teacher teacher.safetensors --recipe crops -o runs/taught
  torchrun --nproc-per-node 4 -m stmga train --data MARS/ -o runs/mars"""
    parser = command(commands, "train", "train a network, or resume a run", example)
    add = parser.add_argument
    add("--model", metavar="NAME", help="the architecture (default: stmga_resnet18_c4)")
    add("--backbone", metavar="NAME", help="another trunk for it, such as resnet50_ibn or timm:convnext_tiny")
    add(
        "--from", dest="start", metavar="WEIGHTS",
        help="fine-tune these: a name, a folder, a run's best/, a Hub id; --size and --clip-length default to theirs",
    )  # fmt: skip
    add("--after", metavar="RUN", help="start a second stage: a new network on the trunk of this run")
    add("--teacher", metavar="FILE", help="learn from this network too: a file of `stmga teacher` for the same data")
    add_shared(parser)
    add("--tensorboard", action="store_true", help="write curves for TensorBoard into the run folder")


def add_shared(parser: argparse.ArgumentParser) -> None:
    """What train and ablate have in common."""
    add_training_data(parser.add_argument_group("data").add_argument)
    add = parser.add_argument_group("start of the trunk").add_argument
    add(
        "--backbone-weights", metavar="FILE",
        help='"imagenet", "timm", or a safetensors file of a trunk or of a saved network (default: random)',
    )  # fmt: skip
    add(
        "--backbone-missing",
        metavar="STAGE",
        action="append",
        default=[],
        help="a stage that the file of --backbone-weights lacks",
    )
    _add_recipe(parser.add_argument_group("network and recipe").add_argument)
    add = parser.add_argument_group("run").add_argument
    add(
        "-o", "--out", metavar="FOLDER", required=True, help="the run: log, checkpoint, weights; resumed if it is there"
    )
    add_training_process(add)


def _add_recipe(add: Callable[..., Any]) -> None:
    """What is trained, and how."""
    add(
        "--net", dest="network", metavar="KEY=VALUE", action="append", default=[],
        help="a setting of the untrained network, as attend=scaled; see stmga.STMGAConfig",
    )  # fmt: skip
    add(
        "--recipe",
        default="paper",
        help="paper: MARS on GPUs; small: hundreds of tracklets; cpu: from scratch in minutes; crops: still crops; "
        "clips: fine-tuning (default: paper)",
    )
    add(
        "--size", type=int, nargs=2, metavar=("H", "W"),
        help="input size in pixels (default: that of --from; else 256 128; cpu, crops and clips: 128 64)",
    )  # fmt: skip
    add(
        "--clip-length",
        type=count,
        metavar="T",
        help="frames of a clip (default: that of --from; else 8; cpu and clips: 4; crops: 1)",
    )
    add("--epochs", type=count, help="number of epochs (default: the recipe's)")
    add("--lr", type=float, help="learning rate (default: the recipe's)")
    add("--seed", type=int, help="of weights, sampling and augmentation (default: 0)")
    add_precision(add, default=None)
    add(
        "--set", dest="changes", metavar="KEY=VALUE", action="append", default=[],
        help="any other setting of the recipe, as persons=8 or margin=null; see stmga.train.TrainConfig",
    )  # fmt: skip


def train(args: argparse.Namespace) -> None:
    """Train, validate, and print where the weights are."""
    from stmga.train import Stage, StoppedError
    from stmga.train import train as run

    config = recipe_of(args)
    _check_start(args)
    after = Stage.of(args.after) if args.after else None
    benchmark = data_of(args)
    model, start = _network(args, config, after)
    say(f"network   {start}")
    say(f"recipe    {args.recipe}, {config.epochs} epochs, seed {config.seed}, {config.precision}")
    try:
        result = run(model, benchmark, config, args.out, **run_options(args), tensorboard=args.tensorboard,
                     started_from=start, after=after, teacher=args.teacher)  # fmt: skip
    except StoppedError as stopped:
        say(f"stmga: {stopped}", file=sys.stderr)
        sys.exit(128 + stopped.signum)
    say(f"\n{result.table()}\n\nlog       {args.out}/log.jsonl")
    best = "best" if result.best else "last"
    say(f"weights   {args.out}/{best}: stmga embed SOURCE --model {args.out}/{best} -o vectors.safetensors")
    if not result.best:
        say("there was no test, so nothing was validated; --test names one, --holdout 0.2 sets some persons aside")


def recipe_of(args: argparse.Namespace) -> TrainConfig:
    """The recipe with the changes that were asked for."""
    from stmga.train import recipe

    changes = key_values(args.changes, "--set")
    direct = {key: getattr(args, key) for key in ("epochs", "lr", "seed", "precision")}
    return recipe(args.recipe, **changes, **{key: value for key, value in direct.items() if value is not None})


def data_of(args: argparse.Namespace) -> Benchmark:
    """The data; prints their description and the protocol."""
    found = training_data(args)
    if found.query:
        say(f"protocol  {found.protocol}")
    return found


def _check_start(args: argparse.Namespace) -> None:
    """Options that exclude each other."""
    if args.start is not None:
        own = ("model", "backbone", "after", "network", "backbone_weights", "backbone_missing")
        for option in own:
            if getattr(args, option):
                name = "net" if option == "network" else option.replace("_", "-")
                raise ValueError(f"--from brings its own network: leave out --{name}")
    if args.after is not None and args.backbone_weights:
        raise ValueError("--after brings its own trunk: leave out --backbone-weights")


def _network(args: argparse.Namespace, config: TrainConfig, after: Stage | None) -> tuple[STMGA, str]:
    """The network to train and what it starts from, as text; the same for the same seed."""
    import torch

    from stmga.config import ARCHITECTURES
    from stmga.train import with_input
    from stmga.zoo import create_model, with_backbone

    if args.start is not None:
        model, name = trained(args.start)
        return with_input(model, **_input(args)).train(), name
    name = args.model or "stmga_resnet18_c4"
    if name not in ARCHITECTURES:
        create_model(name)  # says what is wrong with it
        raise ValueError(f"{name} has trained weights; to fine-tune them write --from {name}")
    torch.manual_seed(config.seed)
    model = built(args, with_backbone(ARCHITECTURES[name], args.backbone) if args.backbone else ARCHITECTURES[name])
    name += f" with the trunk {args.backbone}" if args.backbone else ""
    return model, f"{name}, {f'after {after.words}' if after is not None else trunk_words(args)}"


def built(args: argparse.Namespace, net: STMGAConfig) -> STMGA:
    """An untrained network, its trunk filled as asked."""
    from stmga.config import STMGAConfig
    from stmga.model import STMGA
    from stmga.train import start_trunk
    from stmga.train.config import INPUTS

    asked = INPUTS.get(args.recipe, {}) | _input(args)
    model = STMGA(STMGAConfig.from_dict(net.to_dict() | asked | key_values(args.network, "--net")))
    if args.backbone_weights:
        start_trunk(model, args.backbone_weights, missing=args.backbone_missing)
    elif args.backbone_missing:
        raise ValueError("--backbone-missing says what a trunk's file lacks; give that file as --backbone-weights")
    return model


def _input(args: argparse.Namespace) -> dict[str, Any]:
    """The size and the length of clips, where asked for."""
    asked = {"size": args.size and tuple(args.size), "clip_length": args.clip_length}
    return {name: value for name, value in asked.items() if value}


def trunk_words(args: argparse.Namespace) -> str:
    """What the network starts from, as text."""
    if not args.backbone_weights:
        return "random weights"
    from stmga.hub.records import WEIGHTS_FILE

    if args.backbone_weights == "timm":
        return "timm's weights in the trunk, the rest random"
    file = Path(args.backbone_weights)
    if file.name == WEIGHTS_FILE:  # the files of all saved networks have this name
        return f"trunk of a saved network, sha256 {hashlib.sha256(file.read_bytes()).hexdigest()[:12]}, the rest random"
    return f"trunk from {file.name}, the rest random"


def run_options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of `stmga.train.train`."""
    return {
        "device": args.device, "workers": args.workers, "keep_frames": args.keep_frames, "progress": not args.quiet,
        "trust_content": args.trust_content,
    }  # fmt: skip


def in_training_process(run: Callable[[argparse.Namespace], None]) -> Callable[[argparse.Namespace], None]:
    """The command in a training process, from its first computation on."""

    def inside(args: argparse.Namespace) -> None:
        from stmga.train import training_process

        with training_process(args.device):
            run(args)

    return inside


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"train": in_training_process(train)}
