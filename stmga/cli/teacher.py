"""The command that lets a trained network look at all training frames, for smaller ones to learn from."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from stmga.cli.options import (
    add_device,
    add_precision,
    add_training_data,
    add_trust_content,
    add_workers,
    trained,
    training_data,
)
from stmga.cli.parser import check_writable, command, count, say


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga teacher stmga_resnet50_c4.market_cuhk03 --data labelled.pack -o teacher.safetensors
  stmga train --teacher teacher.safetensors --data labelled.pack --model stmga_resnet18_c4 -o runs/small

The data options must be those of the training, --test and --holdout too: they decide which tracklets are trained on.
Killed? Run the same command again: it resumes."""
    words = "write a trained network's vectors of every training frame, for `stmga train --teacher`"
    parser = command(commands, "teacher", words, example)
    add = parser.add_argument
    add("weights", metavar="WEIGHTS", help="the teacher: a name, a folder, a run's best/, a Hub id")
    add("-o", "--out", metavar="FILE", required=True, help="the vectors, a .safetensors file")
    add_training_data(parser.add_argument_group("data").add_argument)
    add = parser.add_argument_group("computing").add_argument
    add_device(add)
    add_precision(add)
    add("--batch-size", type=count, metavar="N", help="frames computed at once (default: 32 on a CPU, 256 on a GPU)")
    add_workers(add)
    add_trust_content(add)
    add("-q", "--quiet", action="store_true", help="no progress bar")


def teacher(args: argparse.Namespace) -> None:
    """Every training frame, plain and mirrored, in one file; with torchrun by several processes."""
    from stmga.train import teacher_vectors
    from stmga.utils.distributed import process_group

    check_writable(args.out)
    model, name = trained(args.weights)
    say(f"teacher   {name}, {model.config.size[0]} x {model.config.size[1]}")
    tracklets = training_data(args).train
    with process_group(args.device) as world:
        teacher_vectors(
            model,
            tracklets,
            args.out,
            weights=name,
            device=world.device,
            precision=args.precision,
            batch_size=args.batch_size,
            workers=args.workers,
            progress=world.is_main and not args.quiet,
            world=world,
            trust_content=args.trust_content,
        )
    say(f"wrote     {args.out}: {sum(map(len, tracklets)):,} frames, plain and mirrored, {model.dim} numbers each")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"teacher": teacher}
