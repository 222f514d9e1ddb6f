"""Weights in timm's names, loaded by timm's own loader: it converts old names and resizes position embeddings."""

import logging
from pathlib import Path
from typing import Any

from torch import Tensor

from stmga.backbones.timm_trunk import TimmTrunk, import_timm
from stmga.config import TIMM
from stmga.utils.foreign import reason_of

log = logging.getLogger(__name__)
Triple = tuple[float, float, float]


def preprocessing(name: str) -> tuple[Triple, Triple]:
    """Mean and standard deviation of RGB in 0..1 that timm's weights of this network were trained with."""
    config = import_timm().get_pretrained_cfg(name)
    mean, std = (tuple(float(value) for value in each) for each in (config.mean, config.std))
    return mean, std  # type: ignore[return-value]


def downloaded(trunk: TimmTrunk, mean: Triple | None, std: Triple | None) -> dict[str, Tensor]:
    """The parameters of timm's weights of this network, up to the trunk's map.

    Raises:
        ValueError: timm has no such weights, or they want another mean and std than these.
        OSError: they are neither cached nor can they be downloaded.
    """
    if fault := _other_colours(trunk, mean, std):
        raise ValueError(fault)
    if not import_timm().get_pretrained_cfg(trunk.name).has_weights:
        raise ValueError(f"timm has no weights of {trunk.name}: give a safetensors file, backbone_weights=PATH")
    try:
        return _loaded(trunk)
    except Exception as error:  # huggingface_hub and its connections have many
        raise OSError(
            f"timm's weights of {trunk.name} could not be loaded ({reason_of(error)}). Give a local safetensors file "
            "in timm's names instead: backbone_weights=PATH"
        ) from error


def from_timm_names(
    trunk: TimmTrunk, state: dict[str, Tensor], file: str | Path, mean: Triple | None, std: Triple | None
) -> dict[str, Tensor]:
    """The trunk's parameters of a file in timm's names, such as a ``model.safetensors`` of timm on the Hub.

    The file may have a classifier of any number of classes. A file of exactly the trunk's parameters is taken as it is.
    A file does not say which colours it wants: a warning tells where timm's own weights want others than these.

    Raises:
        ValueError: the file does not fit the network.
    """
    state = {key.removeprefix("net."): tensor for key, tensor in state.items()}
    wanted = trunk.net.state_dict()
    if state.keys() == wanted.keys() and all(state[key].shape == wanted[key].shape for key in wanted):
        return state
    if fault := _other_colours(trunk, mean, std):
        log.warning("%s: if %s was trained like timm's own weights, %s", trunk.what, file, fault)
    names = import_timm().get_pretrained_cfg(trunk.name).classifier or ()
    heads = [f"{name}.weight" for name in ((names,) if isinstance(names, str) else names)]
    classes = next((len(state[head]) for head in heads if head in state), 0)
    try:
        # Equal numbers of classes make timm's loader strict. A background class would be taken off.
        return _loaded(trunk, {"state_dict": dict(state), "num_classes": classes, "label_offset": 0})
    except (RuntimeError, KeyError, ValueError, AttributeError, IndexError) as error:
        raise ValueError(f"{file} does not fit {trunk.what} in timm's names: {reason_of(error, lines=3)}") from error


def _loaded(trunk: TimmTrunk, overlay: dict[str, Any] | None = None) -> dict[str, Tensor]:
    """The trunk's parameters of a whole network that timm loads."""
    options = {key: value for key, value in trunk.plan.options.items() if key != "num_classes"}
    if overlay is not None:
        options |= {"pretrained_cfg_overlay": overlay, "num_classes": overlay["num_classes"]}
    whole = import_timm().create_model(trunk.name, pretrained=True, **options).state_dict()
    return {key: whole[key] for key in trunk.net.state_dict()}


def _other_colours(trunk: TimmTrunk, mean: Triple | None, std: Triple | None) -> str:
    """What to change where the weights want another mean or standard deviation; "" if nothing."""
    if mean is None or std is None or (mean, std) == preprocessing(trunk.name):
        return ""
    wanted, spread = preprocessing(trunk.name)
    return (
        f"the weights of {TIMM}{trunk.name} want frames of mean {_listed(wanted)} and std {_listed(spread)}, and the "
        f"configuration says {_listed(mean)} and {_listed(std)}: set mean={_listed(wanted)} and std={_listed(spread)} "
        "in the configuration, or build the network by create_model(..., backbone=...), which takes them"
    )


def _listed(values: Triple) -> str:
    return f"[{', '.join(f'{value:g}' for value in values)}]"
