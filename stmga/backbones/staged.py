"""A trunk of named stages: the first can be frozen, and each can compute its activations again to save memory."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Trunk(nn.Sequential):
    """(b 3 h w) -> (b c h/16 w/16), torchvision's stages one after another.

    ``recompute`` names stages whose activations are computed again in the backward pass instead of being kept. This
    costs their forward pass, saves their activations, and gives the same bits, running statistics included.
    ``frozen`` names stages that training does not change; see :meth:`freeze`.
    """

    memory_format = torch.channels_last
    library = ""  # that builds the trunk, with its version; empty if stmga alone does
    recompute: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    dim: int  # channels of the map

    def forward(self, x: Tensor) -> Tensor:
        for name, stage in self.named_children():
            if name in self.frozen:
                with torch.no_grad():
                    x = stage(x)
                continue
            again = name in self.recompute and self.training and torch.is_grad_enabled()
            x = recomputed(stage, x) if again else stage(x)
        return x

    def set_recompute(self, stages: Sequence[str]) -> None:
        """Set :attr:`recompute`.

        Raises:
            ValueError: a stage that the trunk does not have.
        """
        names = [name for name, _ in self.named_children()]
        if unknown := [name for name in stages if name not in names]:
            raise ValueError(f"recompute names {', '.join(unknown)}; the trunk's stages are {', '.join(names)}")
        self.recompute = tuple(stages)

    def freeze(self, stages: Sequence[str]) -> None:
        """Freeze the weights and running statistics of these first stages; stages frozen before are free again.

        Frozen stages compute no gradient and keep no activations, and the first stages have the largest maps. A step of
        a ResNet-50 that ends at layer3 takes a third less time with conv1 to layer1 frozen (docs/train/training.md).

        Raises:
            ValueError: they are not the first stages, so that a gradient would have to go through them.
        """
        names = [name for name, _ in self.named_children()]
        last = max((names.index(name) for name in stages if name in names), default=-1)
        first = [name for name in names[: last + 1] if any(True for _ in getattr(self, name).parameters())]
        if unknown := [name for name in stages if name not in names]:
            raise ValueError(f"no stage {', '.join(unknown)} to freeze; the trunk's stages are {', '.join(names)}")
        if lacking := [name for name in first if name not in stages]:
            raise ValueError(f"the first stages alone can be frozen: freeze {', '.join(lacking)} too")
        for name, stage in self.named_children():
            if name in self.frozen or name in stages:
                stage.requires_grad_(name not in stages)
        self.frozen = tuple(names[: last + 1])
        self.train(self.training)

    def train(self, mode: bool = True) -> "Trunk":
        super().train(mode)
        for name in self.frozen:
            getattr(self, name).eval()
        return self

    def for_size(self, size: tuple[int, int]) -> "Trunk":
        """The trunk for frames of another size: itself, since no weight depends on it."""
        return self


def recomputed(stage: nn.Module, x: Tensor) -> Tensor:
    """``stage(x)``; its activations are computed again when the backward pass needs them."""
    contexts = lambda: (nullcontext(), frozen_statistics(stage))  # noqa: E731
    y: Tensor = checkpoint(stage, x, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
    return y


@contextmanager
def frozen_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms in training normalise by the batch but do not update their running statistics."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:  # momentum 0; removing the statistics would change what the backward pass keeps
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, count) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, count
