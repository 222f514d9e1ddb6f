"""The parameters of a network as the bytes of a safetensors file, and back. Every key must match."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from stmga.config import CUSTOM, TIMM, STMGAConfig
from stmga.hub.records import CONFIG_FILE, WeightsError
from stmga.utils.foreign import MB, escaped, parse_json, shown
from stmga.utils.text import preview

if TYPE_CHECKING:
    from stmga.model import STMGA

Build = Callable[[STMGAConfig], "STMGA"]  # the class is passed in, because the network's module imports this package

PRECISION = 2.0**-10  # of float16 in its normal range, with one bit to spare
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # types in which parameters may be stored
HEADER_LIMIT = 8 * MB  # of a safetensors header; those of this package have 30 kB


def to_bytes(model: nn.Module, *, half: bool = False) -> bytes:
    """The file of a network on any device, also one wrapped by DistributedDataParallel or torch.compile.

    ``half`` rounds to float16 where float16 can represent the values. A network read from such a file gives the same
    bytes.

    Raises:
        WeightsError: not an STMGA, or one that was changed after it was built.
    """
    from safetensors.torch import save

    model = unwrapped(model)
    with torch.device("meta"):
        built = builder(model)(model.config)
    wanted = built.state_dict()
    state = {
        key if key in wanted else _plain(key): t.detach().to("cpu", copy=True).contiguous()
        for key, t in model.state_dict().items()
    }
    advice = "It was changed after it was built: build one from a config that says how."
    if model.fused_from:
        raise WeightsError(
            "this model was changed after it was built: fuse() made it. Save the network it was made of."
        )
    _check_keys(wanted, state, "this model", advice)
    if odd := [f"{key} {t.dtype}" for key, t in state.items() if t.dtype not in (*FLOATS, torch.int64)]:
        raise WeightsError(
            f"this model has numbers that are not stored: {preview(odd, 4)}. Register such buffers of your module with "
            "persistent=False, or make them int64."
        )
    check_values(state, "this model")
    if half:
        state = _halved(state, {name for name, _ in built.named_buffers()})
    return save(state, {"format": "pt"})  # one entry: safetensors writes several in random order, and sha256 would vary


def with_trunk(build: type[STMGA], module: nn.Module, dim: int | None = None) -> Build:
    """``build`` for networks with a trunk of the user's own, which is ``module``; others are refused."""

    def built(config: STMGAConfig) -> STMGA:
        if config.backbone != CUSTOM:
            raise ValueError(f"it brings its own trunk, {config.backbone}: leave out backbone")
        return build(config, module, dim=dim)

    return built


def builder(model: STMGA, *, copied: bool = False) -> Build:
    """What builds networks like this one: with its own trunk, or with a copy of it, if that is the user's."""
    if model.config.backbone != CUSTOM:
        return type(model)
    net = cast(nn.Module, model.backbone.net)
    return with_trunk(type(model), copy.deepcopy(net) if copied else net, model.dim)


def empty(config: STMGAConfig, build: Build) -> STMGA:
    """A network on the meta device, without memory or random numbers, to be filled with parameters.

    Raises:
        WeightsError: no network can be built from ``config``.
    """
    try:
        with torch.device("meta"):
            return build(config)
    except (ValueError, TypeError, RuntimeError, ZeroDivisionError) as error:
        raise WeightsError(f"no network can be built from its configuration: {escaped(str(error), 200)}") from error


def largest_file(model: nn.Module) -> int:
    """The most bytes that a file of this network can have."""
    return 8 + HEADER_LIMIT + 8 * sum(tensor.numel() for tensor in model.state_dict().values())


def from_bytes(data: bytes, config: STMGAConfig, origin: str | Path, *, build: Build) -> STMGA:
    """The network of a file, in float32: built without memory or random numbers, then given its parameters.

    Raises:
        WeightsError: not a safetensors file, keys or types that do not fit ``config``, or values that cannot come from
            training; ``origin`` names the file.
    """
    state = _tensors(data, origin)  # read before the network is built, which imports torchvision
    check_values(state, origin)
    model = empty(config, build)
    advice = f"Load the {CONFIG_FILE} saved with these weights, or save the model again with save_pretrained."
    _check_keys(model.state_dict(), state, origin, advice)
    if config.backbone.startswith(TIMM):  # timm computes some tensors when it builds, and they are not in the file
        with torch.random.fork_rng(devices=[]), torch.device("cpu"):
            model = build(config)
        model.load_state_dict(state)
        return model
    model.load_state_dict(state, assign=True)
    return model


def _tensors(data: bytes, origin: str | Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        if (size := int.from_bytes(data[:8], "little")) > min(HEADER_LIMIT, len(data)):
            raise ValueError(f"its header would have {size:,} bytes")
        parse_json(data[8 : 8 + size])  # refuses duplicate names, which readers resolve differently
        state = load(data)
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        advice = pickle_hint(data) or "It was written wrongly: save the model again with save_pretrained."
        reason = escaped(str(error), 200)
        raise WeightsError(f"{origin} is not a complete safetensors file ({reason}). {advice.strip()}") from error
    if odd := [f"{_label(key)} {t.dtype}" for key, t in state.items() if t.dtype not in (*FLOATS, torch.int64)]:
        raise WeightsError(
            f"{origin} holds numbers that parameters are not stored in: {preview(odd, 4)}. Save the model again with "
            "save_pretrained."
        )
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}


def check_types(state: Mapping[str, object], wanted: Mapping[str, Tensor], origin: str | Path) -> None:
    """Raise WeightsError for parameters of types that they are not stored in: torch would convert them in silence."""
    given = {key: value for key, value in state.items() if isinstance(value, Tensor)}
    if mistyped := _mistyped(wanted, given):
        raise WeightsError(
            f"{origin} holds numbers that parameters are not stored in: {preview(mistyped, 4)}. Take the weights "
            "as they were before they were converted, or undo the conversion: int8 weights need their scales."
        )


def check_values(state: Mapping[str, Tensor], origin: str | Path) -> None:
    """Raise WeightsError for values that give no vectors, or the same vector for everybody.

    These are NaN and infinity, negative variances, and zeros alone in a convolution of the trunk, BN neck or whitening.
    """
    for key, tensor in state.items():
        if not tensor.is_floating_point() or not tensor.numel():
            continue
        least, most = (float(value) for value in tensor.aminmax())
        fault = ""
        if not (math.isfinite(least) and math.isfinite(most)):
            fault = "holds NaN or infinite values"
        elif key.endswith("running_var") and least < 0:
            fault = "is a variance and holds negative values"
        elif least == most == 0 and (key in ("neck.weight", "whitening.weight") or _is_convolution(key, tensor)):
            fault = "holds zeros alone, so every tracklet would get the same vector"
        if fault:
            raise WeightsError(f"{origin} cannot be used: {_label(key)} {fault}. Take weights that were trained.")


def _is_convolution(key: str, tensor: Tensor) -> bool:
    """Whether it is a convolution of a ResNet; other trunks may start one at zero, or store other things like one."""
    return tensor.ndim == 4 and key.startswith("backbone.") and not key.startswith("backbone.net.")


def unwrapped(model: nn.Module) -> STMGA:
    """The STMGA inside the wrappers of DistributedDataParallel and torch.compile."""
    while inner := model._modules.get("module") or model._modules.get("_orig_mod"):
        model = inner
    if not isinstance(getattr(model, "config", None), STMGAConfig):
        raise WeightsError(f"only an STMGA can be saved, not {type(model).__name__}; save its STMGA part.")
    return cast("STMGA", model)


def pickle_hint(data: bytes) -> str:
    """A hint for a file that is a pickle, else ""."""
    pickled = data[:4] == b"PK\x03\x04" or data[:1] == b"\x80"
    return "It is a pickle, which can run code and is never read. " if pickled else ""


def _halved(state: Mapping[str, Tensor], buffers: Collection[str]) -> dict[str, Tensor]:
    """Parameters in float16; running statistics stay in float32, since variances exceed the range of float16."""
    whole = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
    return {key: t if key in buffers or not _fits_half(t) else t.half() for key, t in whole.items()}


def _fits_half(t: Tensor) -> bool:
    """Whether rounding loses no more than float16's precision: nothing overflows, and not all values are near zero."""
    exact = t.double()
    return bool((t.half().double() - exact).norm() <= PRECISION * exact.norm())


def _check_keys(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], origin: str | Path, advice: str) -> None:
    misfit = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    mistyped = _mistyped(wanted, state)
    missing, unexpected = [k for k in wanted if k not in state], list(map(_label, sorted(state.keys() - wanted)))
    lists = {"missing": missing, "unexpected": unexpected, "of another shape": misfit, "of another type": mistyped}
    if faults := [f"{len(keys)} {how} ({preview(keys, 4)})" for how, keys in lists.items() if keys]:
        raise WeightsError(f"{origin} does not fit its {CONFIG_FILE}: parameters {', '.join(faults)}. {advice}")


def _mistyped(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    return [f"{k} {str(state[k].dtype).removeprefix('torch.')}" for k in wanted if _is_mistyped(k, wanted, state)]


def _is_mistyped(key: str, wanted: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> bool:
    if key not in state:
        return False
    have, want = state[key].dtype, wanted[key].dtype
    return have not in FLOATS if want.is_floating_point else have != want


def _label(key: str) -> str:
    """A parameter's name; an impossible name is shown escaped."""
    return key if key.replace(".", "_").isidentifier() and len(key) <= 80 else shown(key)


def _plain(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in ("module", "_orig_mod"))
