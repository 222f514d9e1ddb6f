"""The parameters of a network as the bytes of a safetensors file, and back: every key matched, none left random."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from stmga.config import STMGAConfig
from stmga.hub.records import CONFIG_FILE, WeightsError
from stmga.utils.text import preview

if TYPE_CHECKING:
    from stmga.model import STMGA

Build = Callable[[STMGAConfig], "STMGA"]  # the class itself: the network imports this package, not the other way round

PRECISION = 2.0**-10  # of float16 in its normal range, with one bit to spare


def to_bytes(model: nn.Module, *, half: bool = False) -> bytes:
    """The file of a network on any device, in DistributedDataParallel or torch.compile or not.

    ``half`` rounds to float16 what float16 can hold. A network that was read from such a file gives the same bytes.

    Raises:
        WeightsError: no STMGA, or one that was changed after it was built.
    """
    from safetensors.torch import save

    model = unwrapped(model)
    with torch.device("meta"):
        built = type(model)(model.config)
    state = {_plain(key): t.detach().to("cpu", copy=True).contiguous() for key, t in model.state_dict().items()}
    advice = "It was changed after it was built: build one from a config that says how."
    _check_keys(built.state_dict(), state, "this model", advice)
    if half:
        state = _halved(state, {name for name, _ in built.named_buffers()})
    return save(state, {"format": "pt"})  # one entry: with more, safetensors orders them by chance and sha256 varies


def from_bytes(data: bytes, config: STMGAConfig, origin: str | Path, *, build: Build) -> STMGA:
    """The network of a file, in float32: built without memory or random numbers, then given its parameters.

    Raises:
        WeightsError: no safetensors file, or keys that do not fit ``config``; ``origin`` names the file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        state = load(data)
    except SafetensorError as error:
        advice = pickle_hint(data) or "It was written wrongly: save the model again with save_pretrained."
        raise WeightsError(f"{origin} is not a complete safetensors file ({error}). {advice.strip()}") from error
    with torch.device("meta"):
        model = build(config)
    advice = f"Load the {CONFIG_FILE} saved with these weights, or save the model again with save_pretrained."
    _check_keys(model.state_dict(), state, origin, advice)
    model.load_state_dict({k: t.float() if t.is_floating_point() else t for k, t in state.items()}, assign=True)
    return model


def unwrapped(model: nn.Module) -> STMGA:
    """The STMGA inside what DistributedDataParallel and torch.compile put around it."""
    while inner := model._modules.get("module") or model._modules.get("_orig_mod"):
        model = inner
    if not isinstance(getattr(model, "config", None), STMGAConfig):
        raise WeightsError(f"only an STMGA can be saved, not {type(model).__name__}; save its STMGA part.")
    return cast("STMGA", model)


def pickle_hint(data: bytes) -> str:
    """A sentence for a file that is a pickle, else nothing."""
    pickled = data[:4] == b"PK\x03\x04" or data[:1] == b"\x80"
    return "It is a pickle, which can run code and is never read. " if pickled else ""


def _halved(state: Mapping[str, Tensor], buffers: Collection[str]) -> dict[str, Tensor]:
    """Parameters in float16; running statistics in float32: they are few, and a variance spans more than float16."""
    whole = {key: t.float() if t.is_floating_point() else t for key, t in state.items()}
    return {key: t if key in buffers or not _fits_half(t) else t.half() for key, t in whole.items()}


def _fits_half(t: Tensor) -> bool:
    """Whether rounding costs no more than float16's precision: nothing overflows, and not all of it is near zero."""
    exact = t.double()
    return bool((t.half().double() - exact).norm() <= PRECISION * exact.norm())


def _check_keys(wanted: Mapping[str, Tensor], state: Mapping[str, Tensor], origin: str | Path, advice: str) -> None:
    misfit = [
        f"{key} {tuple(state[key].shape)} instead of {tuple(wanted[key].shape)}"
        for key in wanted
        if key in state and state[key].shape != wanted[key].shape
    ]
    missing, unexpected = [k for k in wanted if k not in state], sorted(state.keys() - wanted)
    lists = {"missing": missing, "unexpected": unexpected, "of another shape": misfit}
    if faults := [f"{len(keys)} {how} ({preview(keys, 4)})" for how, keys in lists.items() if keys]:
        raise WeightsError(f"{origin} does not fit its {CONFIG_FILE}: parameters {', '.join(faults)}. {advice}")


def _plain(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in ("module", "_orig_mod"))
