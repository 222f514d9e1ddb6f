"""A training state as one safetensors file: tensors, and everything else as JSON beside them. No pickle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from stmga._version import __version__
from stmga.files import written_whole
from stmga.train.errors import TrainingError

FORMAT = 1
OWN = "objective."  # before the names of its tensors


@dataclass
class Progress:
    """How far a run is: ``epoch`` epochs are done (from 0) and ``step`` steps of the next, whose sums so far are kept.

    All randomness of a run follows from its seed, its epoch and its step, so this and the tensors are the whole state.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the terms, over the steps of the epoch begun
    best: dict[str, Any] = field(default_factory=dict)  # the validation with the highest mAP
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16
    seconds: float = 0.0  # of training so far


def save_checkpoint(path: Path, progress: Progress, objective: nn.Module, optimizer: Optimizer) -> None:
    """Write the state, whole or not at all.

    Raises:
        OSError: it cannot be written (a full disk, say); the checkpoint before it is untouched.
    """
    tensors = {f"{OWN}{name}": tensor for name, tensor in objective.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about = {"format": FORMAT, "stmga": __version__, "progress": vars(progress)}
    with written_whole(path) as temp:
        try:
            save_file(tensors, temp, {"stmga-training": json.dumps(about)})
        except SafetensorError as error:  # what the disk said, as safetensors passes it on
            raise OSError(str(error)) from error


def load_checkpoint(path: Path, objective: nn.Module, optimizer: Optimizer) -> Progress:
    """Put the state of ``path`` into the objective and the optimiser.

    Raises:
        TrainingError: the file is cut short, is no checkpoint, or one of another version or network.
    """
    progress, tensors = _read(path)
    own = _objective(tensors)
    try:
        objective.load_state_dict(own)
    except RuntimeError as error:
        raise TrainingError(f"{path} does not fit this network: {error}") from error
    _load_optimizer(optimizer, tensors)
    return progress


def read_tensors(path: Path) -> tuple[Progress, dict[str, Tensor]]:
    """How far the run of a checkpoint is, and the state of its objective.

    Raises:
        TrainingError: as :func:`load_checkpoint`.
    """
    progress, tensors = _read(path)
    return progress, _objective(tensors)


def _objective(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(OWN): t for name, t in tensors.items() if name.startswith(OWN)}


def _read(path: Path) -> tuple[Progress, dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["stmga-training"])
            _check_version(path, about)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise TrainingError(
            f"{path} is damaged or no checkpoint ({error}). What was saved of the run beside it is untouched: "
            "start a new run from its weights with --from RUN/best or RUN/last, or remove this file to begin anew"
        ) from error
    return Progress(**about["progress"]), tensors


def _check_version(path: Path, about: Mapping[str, Any]) -> None:
    if about["stmga"] != __version__ or about["format"] != FORMAT:
        raise TrainingError(
            f"{path} was written by stmga {about['stmga']}, this is {__version__}, and a run that changes its code "
            f"half way is nobody's result. Install stmga {about['stmga']} to go on, or start a new run from its "
            "weights with --from RUN/last"
        )


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            _, number, key = name.split(".")
            like = parameters[int(number)]
            if tensor.shape == like.shape:  # a moment lies in memory as its parameter does, channels last or not
                tensor = torch.empty_like(like).copy_(tensor)
            states.setdefault(int(number), {})[key] = tensor
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})
