"""Networks of timm as trunks, by name: the map of 1/16 of the frame that a network gives."""

import copy
import difflib
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from stmga.backbones.dry_run import STRIDE, map_channels
from stmga.backbones.module_trunk import ModuleTrunk
from stmga.config import TIMM
from stmga.utils.foreign import escaped
from stmga.utils.text import preview


class Plan(NamedTuple):
    """How timm builds a network that gives a map of stride 16."""

    options: dict[str, Any]  # of timm.create_model
    position: int  # of the map among the network's intermediate ones
    norm: bool  # whether the network's last norm is applied to it


class Map(nn.Module):
    """(n 3 h w) -> (n c h/16 w/16): one intermediate map of a timm network."""

    def __init__(self, net: nn.Module, plan: Plan) -> None:
        super().__init__()
        self.net, self.plan = net, plan

    def forward(self, x: Tensor) -> Tensor:
        _, position, norm = self.plan
        options = {"norm": True} if norm else {}
        maps = self.net.forward_intermediates(  # type: ignore[operator]
            x, indices=[position], output_fmt="NCHW", intermediates_only=True, **options
        )
        found: Tensor = maps[0]
        return found


class TimmTrunk(ModuleTrunk):
    """(b 3 h w) -> (b c h/16 w/16): a network of timm, up to its map of stride 16.

    Parameters have timm's names, after ``net.``. What comes after the map, such as a classifier, is cut off.

    Args:
        name: timm's name of the network, with or without a tag.
        stage: ``"c4"``: the map of stride 16; ``"c5"``: the last one, with the stride of the last stage removed. They
            are the same for a vision transformer with patches of 16.
        size: height and width of the frames in pixels.

    Raises:
        ImportError: timm is not installed.
        ValueError: timm has no such network, or it gives no such map for frames of this size.
    """

    memory_format = torch.channels_last

    def __init__(self, name: str, stage: str, size: tuple[int, int]) -> None:
        self.name, self.what = name, f"{TIMM}{name}"
        self.plan, dim = planned(name, stage, size)
        net = create(name, **self.plan.options)
        cut(net, self.plan)
        super().__init__(net, size, dim)
        self.library = f"timm {import_timm().__version__}"

    def forward(self, x: Tensor) -> Tensor:
        return Map.forward(self, x)  # type: ignore[arg-type]

    def for_size(self, size: tuple[int, int]) -> "TimmTrunk":
        """The trunk for frames of another size: a copy whose position embeddings, if it has any, are resized.

        Raises:
            ValueError: the network does not take frames of this size.
        """
        if size == self.size:
            return self
        other = copy.deepcopy(self)
        if hasattr(other.net, "set_input_size"):
            other.net.set_input_size(img_size=size)  # type: ignore[operator]
        map_channels(Map(other.net, self.plan), size, what=self.what)
        other.size = size
        return other


def import_timm() -> Any:
    """The module timm."""
    try:
        import timm
    except ImportError as error:
        raise ImportError(f"a trunk {TIMM}NAME needs timm: pip install 'stmga[timm]'") from error
    return timm


def check_name(name: str) -> None:
    """Raise ValueError, with the closest names, unless timm has a network and a tag of this name."""
    timm = import_timm()
    arch, _, tag = name.partition(".")
    if not timm.is_model(arch):
        near = difflib.get_close_matches(arch, timm.list_models(), n=5)
        hint = f"did you mean {preview(map(repr, near))}?" if near else f"timm.list_models('*{arch[:4]}*') lists names"
        raise ValueError(f"timm {timm.__version__} has no network {arch!r}; {hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{arch}.*")]
    if tag and tag not in tags:
        raise ValueError(f"timm {timm.__version__} has no weights {tag!r} of {arch}; it has {preview(tags) or 'none'}")


def create(name: str, **options: Any) -> nn.Module:
    """``timm.create_model`` without a download."""
    net: nn.Module = import_timm().create_model(name, pretrained=False, **options)
    return net


def cut(net: nn.Module, plan: Plan) -> None:
    """Remove what comes after the map."""
    net.prune_intermediate_layers([plan.position], prune_norm=not plan.norm, prune_head=True)  # type: ignore[operator]


@cache
def planned(name: str, stage: str, size: tuple[int, int]) -> tuple[Plan, int]:
    """How to build the trunk, and the channels of its map, found on the meta device, without memory or numbers."""
    check_name(name)
    what = f"{TIMM}{name}"
    net, options = _sketch(name, {"img_size": size})
    strides = _strides(net, what)
    last, fits = len(strides) - 1, [i for i, stride in enumerate(strides) if stride == STRIDE]
    same = len(set(strides)) == 1  # a plain vision transformer: all its maps have one stride
    if stage == "c5" and strides[-1] != STRIDE:
        try:
            net, options = _sketch(name, {**options, "output_stride": STRIDE})
        except (TypeError, ValueError, AssertionError, KeyError, NotImplementedError) as error:
            advice = 'take stage="c4", its map of stride 16' if fits else f"its maps have strides {_listed(strides)}"
            raise ValueError(f"{what} cannot end at a stride of 16: {advice}") from error
        fits = [i for i in fits if i < last] + [last] * (_strides(net, what)[-1] == STRIDE)
        if last not in fits:
            raise ValueError(f'{what} cannot end at a stride of 16; take stage="c4" if it has such a map')
    if not fits:
        raise ValueError(f"{what} gives no map of stride 16: its maps have strides {_listed(strides)}")
    plan = Plan({**options, "num_classes": 0}, fits[-1], norm=same and fits[-1] == last)
    with torch.device("meta"):
        net = create(name, **plan.options)
        cut(net, plan)
    return plan, map_channels(Map(net, plan), size, what=what)


def _sketch(name: str, options: dict[str, Any]) -> tuple[nn.Module, dict[str, Any]]:
    """The network on the meta device, and those of the options that it knows; ``img_size`` may be unknown."""
    try:
        with torch.device("meta"):
            return create(name, **options), options
    except TypeError as error:
        if "img_size" not in str(error) or "img_size" not in options:
            raise
        return _sketch(name, {key: value for key, value in options.items() if key != "img_size"})
    except AssertionError as error:
        if "output_stride" in options:
            raise
        h, w = options["img_size"]
        reason = f": {escaped(str(error), 160)}" if str(error) else ""
        raise ValueError(f"{TIMM}{name} cannot be built for frames of {h} x {w}{reason}") from error


def _strides(net: nn.Module, what: str) -> list[int]:
    """The strides of the network's maps."""
    info = getattr(net, "feature_info", None)
    if not info or not hasattr(net, "forward_intermediates") or not hasattr(net, "prune_intermediate_layers"):
        raise ValueError(f"{what} gives no maps: timm has no features for it; take another network")
    return [int(entry["reduction"]) for entry in info]


def _listed(strides: Sequence[int]) -> str:
    return preview(dict.fromkeys(strides), 9)
