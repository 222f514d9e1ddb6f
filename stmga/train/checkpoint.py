"""A training state as one safetensors file: tensors, and everything else as JSON beside them. No pickle."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from stmga._version import __version__
from stmga.train.errors import TrainingError
from stmga.utils.files import atomic_path
from stmga.utils.foreign import escaped, open_regular, parse_json, shown

FORMAT = 2  # since 2 with the names of the optimiser's parameters
OWN = "objective."  # prefix of the objective's tensors
AVERAGE = "average."  # prefix of the tensors of the moving average


@dataclass
class Progress:
    """The progress of a run: ``epoch`` finished epochs and ``step`` steps of the next, with the sums of its terms.

    All randomness of a run depends only on seed, epoch and step, so this and the tensors are the whole state.
    """

    epoch: int = 0
    step: int = 0
    sums: dict[str, float] = field(default_factory=dict)  # of the terms, over the steps of the epoch begun
    best: dict[str, Any] = field(default_factory=dict)  # the validation with the highest mAP
    scaler: dict[str, Any] = field(default_factory=dict)  # of fp16
    seconds: float = 0.0  # of training so far


def save_checkpoint(
    path: Path, progress: Progress, objective: nn.Module, optimizer: Optimizer, average: nn.Module | None = None
) -> None:
    """Write the state, whole or not at all; ``average`` is the moving average of the weights, where there is one.

    Raises:
        OSError: it cannot be written (a full disk, say); the previous checkpoint is untouched.
    """
    tensors = {f"{OWN}{name}": tensor for name, tensor in objective.state_dict().items()}
    if average is not None:
        tensors |= {f"{AVERAGE}{name}": tensor for name, tensor in average.state_dict().items()}
    for number, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{number}.{key}": value for key, value in state.items()}
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    order = _names(objective, optimizer)
    about = {"format": FORMAT, "stmga": __version__, "progress": vars(progress), "parameters": order}
    with atomic_path(path) as temp:
        try:
            save_file(tensors, temp, {"stmga-training": json.dumps(about)})
        except SafetensorError as error:  # an error of the disk, as safetensors reports it
            raise OSError(str(error)) from error


def load_checkpoint(
    path: Path, objective: nn.Module, optimizer: Optimizer, average: nn.Module | None = None
) -> Progress:
    """Put the state of ``path`` into the objective, the optimiser and the moving average.

    Raises:
        TrainingError: the file is truncated or not a checkpoint, or belongs to another version, another network or a
            run that trained other parameters.
    """
    about, tensors = _read_tensors(path)
    try:
        objective.load_state_dict(_named(tensors, OWN))
        if average is not None:
            average.load_state_dict(_named(tensors, AVERAGE))
    except RuntimeError as error:
        raise TrainingError(f"{path} does not fit this network: {error}") from error
    trained, now = about["parameters"], _names(objective, optimizer)
    if trained != now:  # parameters are numbered: with one more or fewer, each would get another's moments
        others = sorted(set(trained) ^ set(now))[:3] or ["the same in another order"]
        raise TrainingError(
            f"{path} is of a run that trained other parameters ({', '.join(others)}). "
            "Start a new run from its weights with --from RUN/last"
        )
    _load_optimizer(optimizer, tensors, path)
    return Progress(**about["progress"])


class CheckpointContents(NamedTuple):
    """The contents of a checkpoint, without a network; the average if weights are averaged."""

    progress: Progress
    objective: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]  # parameter -> what the optimiser keeps of it


def read_checkpoint(path: Path) -> CheckpointContents:
    """The content of ``path``.

    Raises:
        TrainingError: as :func:`load_checkpoint`.
    """
    about, tensors = _read_tensors(path)
    moments: dict[str, dict[str, Tensor]] = {name: {} for name in about["parameters"]}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            number, key = _moment(name, len(about["parameters"]), path)
            moments[about["parameters"][number]][key] = tensor
    objective = _named(tensors, OWN)
    objective |= {f"model.{name}": tensor for name, tensor in _named(tensors, f"{AVERAGE}module.").items()}
    return CheckpointContents(Progress(**about["progress"]), objective, moments)


def _read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The metadata and the tensors of a checkpoint."""
    try:
        open_regular(path).close()
        with safe_open(path, framework="pt") as file:
            about = parse_json((file.metadata() or {})["stmga-training"])
            _check_version(path, about)
            _check_about(about)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
        _check_tensors(tensors)
    except TrainingError:
        raise
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise TrainingError(
            f"{path} is damaged or not a checkpoint ({escaped(str(error), 200)}). What was saved of the run beside it "
            "is untouched: start a new run from its weights with --from RUN/best or RUN/last, or remove this file to "
            "start again"
        ) from error
    return about, tensors


def _check_about(about: Mapping[str, Any]) -> None:
    """Raise ValueError unless the metadata have the right types."""
    progress, names = about["progress"], about["parameters"]
    wanted = {f.name: type(getattr(Progress(), f.name)) for f in fields(Progress)}
    if not isinstance(progress, dict) or progress.keys() != wanted.keys():
        raise ValueError("its progress is not that of a run")
    for name, kind in wanted.items():
        value = progress[name]
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            raise ValueError(f"its {name} is {shown(value)}")
        if kind is int and not 0 <= value < 1 << 31:
            raise ValueError(f"its {name} is {shown(value)}")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
        raise ValueError("its list of parameters is not one of names")


def _check_tensors(tensors: Mapping[str, Tensor]) -> None:
    """Raise ValueError for values from which training cannot continue."""
    for name, tensor in tensors.items():
        if tensor.dtype not in (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool):
            raise ValueError(f"{shown(name)} is {tensor.dtype}")
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            raise ValueError(f"{shown(name)} holds NaN or infinite values")


def _moment(name: str, count: int, path: Path) -> tuple[int, str]:
    """The parameter's number and the moment's name from the name of a tensor, such as ``optimizer.12.exp_avg``."""
    found = re.fullmatch(r"optimizer\.(\d{1,6})\.(\w+)", name, re.ASCII)
    if found is None or int(found[1]) >= count:
        raise TrainingError(f"{path} is damaged: {shown(name)} is a moment of none of its {count} parameters")
    return int(found[1]), found[2]


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}


def _check_version(path: Path, about: Mapping[str, Any]) -> None:
    if about["stmga"] != __version__ or about["format"] != FORMAT:
        writer = escaped(str(about["stmga"]), 40)
        raise TrainingError(
            f"{path} was written by stmga {writer}, this is {__version__}, and a run that changes its code "
            f"half way is nobody's result. Install stmga {writer} to resume, or start a new run from its "
            "weights with --from RUN/last"
        )


def _load_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], path: Path) -> None:
    parameters = _parameters(optimizer)
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optimizer."):
            number, key = _moment(name, len(parameters), path)
            states.setdefault(number, {})[key] = laid_out(tensor, parameters[number])
    optimizer.load_state_dict(optimizer.state_dict() | {"state": states})


def laid_out(tensor: Tensor, like: Tensor) -> Tensor:
    """A moment in the memory layout of its parameter; a count of steps on the device of its parameter."""
    return torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor.to(like.device, copy=True)


def _names(objective: nn.Module, optimizer: Optimizer) -> list[str]:
    """The objective's names of the optimiser's parameters, in the optimiser's order."""
    names = {id(parameter): name for name, parameter in objective.named_parameters()}
    return [names[id(parameter)] for parameter in _parameters(optimizer)]


def _parameters(optimizer: Optimizer) -> list[Tensor]:
    """The parameters in the order in which the optimiser numbers them."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]
