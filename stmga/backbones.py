"""Torchvision trunks that end at the map that ST-MGA needs: 1/16 of the frame, whole or cut after layer3."""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from stmga.utils.foreign import escaped, open_regular, shown
from stmga.utils.text import preview

STAGES = ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4", "fc")
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what parameters may be stored in
OWN = "backbone."  # prefix of the trunk's parameters in a saved STMGA


class Trunk(nn.Sequential):
    """(b 3 h w) -> (b c h/16 w/16), torchvision's stages one after another.

    ``recompute`` names stages whose activations are computed again in the backward pass instead of being kept. This
    costs their forward pass, saves their activations, and gives the same bits, running statistics included.
    ``frozen`` names stages that training does not change; see :meth:`freeze`.
    """

    recompute: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()

    def forward(self, x: Tensor) -> Tensor:
        for name, stage in self.named_children():
            if name in self.frozen:
                with torch.no_grad():
                    x = stage(x)
                continue
            again = name in self.recompute and self.training and torch.is_grad_enabled()
            x = recomputed(stage, x) if again else stage(x)
        return x

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


def build_backbone(name: str, stage: str) -> Trunk:
    """An untrained ResNet trunk: (b 3 h w) -> (b c h/16 w/16); its parameters have torchvision's names.

    ``stage="c5"`` is the whole network with the stride of layer4 removed, ``"c4"`` ends after layer3.
    """
    import torchvision

    net = getattr(torchvision.models, name)(weights=None)
    children = OrderedDict(net.named_children())
    for head in ("avgpool", "fc", *(["layer4"] if stage == "c4" else [])):
        del children[head]
    if stage == "c5":  # the last stage keeps the 16 x 8 map of the stage before it
        first = children["layer4"][0]
        (first.conv2 if hasattr(first, "conv3") else first.conv1).stride = (1, 1)
        first.downsample[0].stride = (1, 1)
    return Trunk(children)


def backbone_dim(trunk: nn.Sequential) -> int:
    """Channels of the trunk's map: those of its last convolution."""
    last: Any = list(trunk.children())[-1][-1]  # type: ignore[index]
    return int((last.conv3 if hasattr(last, "conv3") else last.conv2).out_channels)


def load_backbone(trunk: nn.Sequential, weights: str | Path, *, name: str, missing: Sequence[str] = ()) -> None:
    """Fill ``trunk`` with ImageNet weights.

    Args:
        trunk: a trunk from :func:`build_backbone`.
        weights: ``"imagenet"`` for torchvision's own (downloaded by torchvision, hash checked), a safetensors file with
            torchvision's names, or the file of a saved STMGA, of which only the trunk is used. A file may end at a
            later stage than the trunk. Half precision becomes float32.
        name: the trunk's name in torchvision.
        missing: stages that the file is known to lack, such as ``["layer4"]``; they keep their random weights.

    Raises:
        ValueError: the file lacks parameters, has unexpected ones, or is not a safetensors file.
        FileNotFoundError: no such file.
    """
    state = torchvision_weights(name) if str(weights) == "imagenet" else read_safetensors(Path(weights))
    if own := {k.removeprefix(OWN): tensor for k, tensor in state.items() if k.startswith(OWN)}:
        state = own  # a saved STMGA: its heads are not used
    wanted = trunk.state_dict()
    built = {child for child, _ in trunk.named_children()}
    beyond = [s for s in STAGES if s not in built]
    extra = sorted(k for k in state if k not in wanted and k.split(".")[0] not in beyond)
    lacking = sorted(k for k in wanted if k not in state and not k.endswith("num_batches_tracked"))
    absent = [s for s in STAGES if s in built and not any(k.split(".")[0] == s for k in state)]  # whole stages
    undeclared = [k for k in lacking if k.split(".")[0] not in missing or k.split(".")[0] not in absent]
    misfit = sorted(k for k in wanted if k in state and state[k].shape != wanted[k].shape)
    if extra or undeclared or misfit:
        declare = [s for s in absent if s not in missing]
        advice = f"; if that is known, say backbone_missing={declare!r}" if declare and not (extra or misfit) else ""
        raise ValueError(
            f"{weights} does not fit {name}: missing {preview(undeclared) or 'none'}, "
            f"unexpected {preview(extra) or 'none'}, wrong shape {preview(misfit) or 'none'}{advice}"
        )
    if idle := [s for s in missing if s not in absent]:
        raise ValueError(f"backbone_missing names {', '.join(idle)}, but {weights} lacks nothing of it in {name}")
    trunk.load_state_dict({k: state[k].to(wanted[k].dtype) for k in wanted if k in state}, strict=False)


def torchvision_weights(name: str) -> dict[str, Tensor]:
    """Torchvision's first ImageNet weights, which the methods compared in the paper use; downloads unless cached."""
    import torchvision

    record = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
    try:
        return dict(record.get_state_dict(progress=True, check_hash=True))
    except OSError as error:
        raise OSError(
            f"torchvision's ImageNet weights for {name} are not cached and could not be downloaded ({error}). "
            "Give a local safetensors file in torchvision's names instead: backbone_weights=PATH"
        ) from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.exists():
        raise FileNotFoundError(f'no trunk weights at {path}; expected "imagenet" or a safetensors file')
    try:
        open_regular(path).close()  # a pipe or a device would hang
        state = load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        reason = escaped(str(error), 200)
        raise ValueError(f"{path} is not a complete safetensors file ({reason}); pickles are not read") from error
    for name, tensor in state.items():
        if tensor.dtype not in FLOATS and not name.endswith("num_batches_tracked"):
            raise ValueError(f"{path} holds {shown(name)} as {tensor.dtype}, expected floating point numbers")
        if tensor.is_floating_point() and tensor.numel() and not torch.stack(tensor.aminmax()).isfinite().all():
            raise ValueError(f"{path} holds NaN or infinite values in {shown(name)}")
    return state
