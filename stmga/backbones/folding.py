"""Which batch norms of somebody else's module can be folded into a convolution: found by watching it run."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from stmga.backbones.dry_run import device_of
from stmga.backbones.module_trunk import ModuleTrunk


class _Watch(TorchFunctionMode):
    """Counts the functions that take each tensor and give tensors; reading a shape does not use its values."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: Counter[int] = Counter()
        self.kept: list[Tensor] = []  # so that no two tensors have one id

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if any(isinstance(value, Tensor) for value in tree_leaves(found)):
            given = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
            self.uses.update({id(value) for value in given})
            self.kept += given
        return found


def watched_pairs(trunk: ModuleTrunk) -> Iterator[tuple[nn.Module, str, nn.Module, str]]:
    """Each convolution whose map goes to one batch norm and nowhere else, as (parent, name, parent, name).

    Both ran once, in eval mode. Convolutions and norms of other classes are left out, since they may compute something
    else, and so are those with hooks.
    """
    convs, norms, runs, handles = {}, {}, Counter[str](), []
    watch = _Watch()

    def after(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, found: Tensor) -> None:
            runs[name] += 1
            convs[name] = found

        return hook

    def before(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any) -> None:
            runs[name] += 1
            norms[name] = args[0]

        return hook

    frame = torch.zeros((1, 3, *trunk.size), dtype=torch.float32, device=device_of(trunk))
    for name, module in trunk.named_modules():
        if _has_hooks(module):
            continue
        if type(module) is nn.Conv2d:
            handles.append(module.register_forward_hook(after(name)))
        elif is_batch_norm(module):
            handles.append(module.register_forward_pre_hook(before(name)))
    try:
        with torch.no_grad(), watch:
            trunk(frame)
    finally:
        for handle in handles:
            handle.remove()
    of = {id(found): name for name, found in convs.items()}
    for norm, given in norms.items():
        conv = of.get(id(given), "")
        if conv and runs[conv] == runs[norm] == watch.uses[id(given)] == 1:
            yield *_located(trunk, conv), *_located(trunk, norm)


def is_batch_norm(module: nn.Module) -> bool:
    """Whether it is torch's batch norm or timm's with an activation, with running statistics and weights."""
    timms = type(module).__name__ == "BatchNormAct2d" and type(module).__module__.startswith("timm.")
    plain = type(module) is nn.BatchNorm2d
    return (plain or timms) and module.running_mean is not None and isinstance(module.weight, nn.Parameter)


def after_norm(norm: nn.Module) -> nn.Module:
    """What remains of a norm that is folded: nothing, or timm's activation."""
    if type(norm) is nn.BatchNorm2d:
        return nn.Identity()
    return nn.Sequential(norm.drop, norm.act)  # type: ignore[arg-type]


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _located(trunk: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The parent of a module, and its name there."""
    parent, _, own = name.rpartition(".")
    return trunk.get_submodule(parent), own
