"""A trunk that is somebody else's module."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stmga.backbones.dry_run import map_channels
from stmga.utils.text import did_you_mean, preview


class ModuleTrunk(nn.Module):
    """(b 3 h w) -> (b c h/16 w/16): a module that is not a ResNet of ours.

    Args:
        net: the module; its parameters keep their names, after ``net.``
        size: height and width of the frames that it is for.
        dim: channels of its map; None finds them by :func:`map_channels`.

    Raises:
        TypeError, ValueError: as :func:`map_channels`; or ``dim`` is not a positive number.
    """

    memory_format = torch.preserve_format  # as its author has it
    library = ""
    frozen: tuple[str, ...] = ()
    what = "the module given as backbone"

    def __init__(self, net: nn.Module, size: tuple[int, int], dim: int | None = None) -> None:
        super().__init__()
        if dim is not None and (type(dim) is not int or dim < 1):
            raise ValueError(f"dim is the number of channels of the trunk's map, got {dim!r}")
        self.size = size
        self.dim = map_channels(net, size, what=self.what) if dim is None else dim
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.net(x)
        return y

    def set_recompute(self, stages: Sequence[str]) -> None:
        """Raise ValueError for any stage: only the trunks of stages can compute activations again."""
        if stages:
            raise ValueError(
                f"recompute is for the stages of a ResNet, and {self.what} has none: leave recompute out, and turn on "
                "the checkpointing of the module itself, model.backbone.net (in timm set_grad_checkpointing())"
            )

    def freeze(self, stages: Sequence[str]) -> None:
        """Freeze these children or parameters of the module, by name; others that were frozen before are free again.

        They get no gradient, and the running statistics of frozen children do not change. Gradients pass through a
        frozen child to what comes before it.

        Raises:
            ValueError: a name that the module does not have.
        """
        modules, parameters = dict(self.net.named_modules()), dict(self.net.named_parameters())
        if unknown := [name for name in stages if not name or (name not in modules and name not in parameters)]:
            children = [name for name, _ in self.net.named_children()]
            hint = did_you_mean(unknown[0], [*modules, *parameters]) or f"it has {preview(children, 12)}"
            raise ValueError(f"no {preview(map(repr, unknown))} to freeze in {self.what}; {hint}")
        for names, free in ((self.frozen, True), (stages, False)):
            for name in names:
                (modules[name] if name in modules else parameters[name]).requires_grad_(free)
        self.frozen = tuple(stages)
        self.train(self.training)

    def train(self, mode: bool = True) -> "ModuleTrunk":
        super().train(mode)
        modules = dict(self.net.named_modules())
        for name in self.frozen:
            if name in modules:
                modules[name].eval()
        return self

    def for_size(self, size: tuple[int, int]) -> "ModuleTrunk":
        """The trunk for frames of another size: a view of the same module, if it takes them.

        Raises:
            ValueError: the module fails on frames of this size, or gives a map of another stride.
        """
        if size == self.size:
            return self
        map_channels(self.net, size, what=self.what)
        other = copy.copy(self)
        other.size = size
        return other
