"""The weights that a trunk starts from: torchvision's or timm's own, or a safetensors file."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from stmga.backbones.module_trunk import ModuleTrunk
from stmga.backbones.resnet import STAGES
from stmga.backbones.timm_trunk import TimmTrunk
from stmga.backbones.timm_weights import Triple, downloaded, from_timm_names
from stmga.config import IBN
from stmga.utils.foreign import escaped, open_regular, shown
from stmga.utils.text import preview

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)  # what parameters may be stored in
OWN = "backbone."  # prefix of the trunk's parameters in a saved STMGA
NET = "net."  # then, prefix of the parameters of a module that is not a ResNet of ours
IMAGENET, FROM_TIMM = "imagenet", "timm"


def load_backbone(
    trunk: nn.Module,
    weights: str | Path,
    *,
    name: str,
    missing: Sequence[str] = (),
    mean: Triple | None = None,
    std: Triple | None = None,
) -> None:
    """Fill ``trunk`` with weights.

    A file may hold a trunk alone, in the names of torchvision, timm or the user's module, or be the file of a saved
    STMGA (names that begin with ``backbone.``), of which only the trunk is used. Half precision becomes float32.

    Args:
        trunk: a trunk from :func:`build_backbone`.
        weights: ``"imagenet"`` for torchvision's own (downloaded by torchvision, hash checked); ``"timm"`` for those of
            a ``timm:`` network (downloaded by timm; position embeddings are resized); or a safetensors file. The file
            of a ResNet may end at a later stage than the trunk.
        name: the trunk's name in the configuration.
        missing: stages of a ResNet that the file is known to lack, such as ``["layer4"]``; they keep their random
            weights.
        mean, std: of the configuration; timm's own weights want certain ones. None: not checked.

    Raises:
        ValueError: the file lacks parameters, has unexpected ones, or is not a safetensors file; there are no such
            weights of this trunk; timm's weights want another mean and std.
        FileNotFoundError: no such file.
        OSError: weights that cannot be downloaded.
    """
    _check_source(trunk, str(weights), name, missing)
    if str(weights) == FROM_TIMM:
        assert isinstance(trunk, TimmTrunk)
        trunk.net.load_state_dict(downloaded(trunk, mean, std))
        return
    if str(weights) == IMAGENET:
        state = torchvision_weights(name)
    else:
        state = read_safetensors(Path(weights))
    own = {k.removeprefix(OWN): tensor for k, tensor in state.items() if k.startswith(OWN)}
    if isinstance(trunk, ModuleTrunk):
        if not own and isinstance(trunk, TimmTrunk):
            state = from_timm_names(trunk, state, weights, mean, std)
        _fill(trunk, own or {f"{NET}{k}": tensor for k, tensor in state.items()}, weights, name)
    else:
        _fill_stages(trunk, own or state, weights, name, missing)  # of a saved STMGA, the heads are not used


def _check_source(trunk: nn.Module, weights: str, name: str, missing: Sequence[str]) -> None:
    """Weights that this trunk cannot have."""
    is_timm = isinstance(trunk, TimmTrunk)
    if weights == IMAGENET and is_timm:
        raise ValueError(f'{name} has weights of timm, which need not be of ImageNet: backbone_weights="{FROM_TIMM}"')
    if weights == IMAGENET and (isinstance(trunk, ModuleTrunk) or name.endswith(IBN)):
        fitting = "in the names of IBN-Net (layer1.0.bn1.IN.weight)" if name.endswith(IBN) else "in the module's names"
        raise ValueError(
            f"torchvision has no ImageNet weights that fit {name}: give a safetensors file {fitting}, "
            "backbone_weights=PATH"
        )
    if weights == FROM_TIMM and not is_timm:
        raise ValueError(
            f'{name} is not a network of timm: write backbone_weights="{IMAGENET}" for a ResNet, or give a file; '
            f'backbone="timm:NAME" takes a network of timm'
        )
    if missing and isinstance(trunk, ModuleTrunk):
        raise ValueError(f"backbone_missing names stages of a ResNet, and {name} has none: leave it out")


def _fill(trunk: ModuleTrunk, state: dict[str, Tensor], weights: str | Path, name: str) -> None:
    """Fill a trunk whose names must all match."""
    wanted = trunk.state_dict()
    extra = sorted(state.keys() - wanted)
    lacking = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    misfit = [k for k in wanted if k in state and state[k].shape != wanted[k].shape]
    if extra or lacking or misfit:
        hint = "; position embeddings have the size of the frames they are for" if misfit else ""
        raise ValueError(f"{_misfits(weights, name, lacking, extra, misfit)}{hint}")
    trunk.load_state_dict({k: tensor.to(wanted[k].dtype) for k, tensor in state.items()}, strict=False)


def _fill_stages(
    trunk: nn.Module, state: dict[str, Tensor], weights: str | Path, name: str, missing: Sequence[str]
) -> None:
    """Fill a ResNet from a file that may end at another stage."""
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
        raise ValueError(f"{_misfits(weights, name, undeclared, extra, misfit)}{advice}")
    if idle := [s for s in missing if s not in absent]:
        raise ValueError(f"backbone_missing names {', '.join(idle)}, but {weights} lacks nothing of it in {name}")
    trunk.load_state_dict({k: state[k].to(wanted[k].dtype) for k in wanted if k in state}, strict=False)


def _misfits(
    weights: str | Path, name: str, missing: Sequence[str], extra: Sequence[str], misfit: Sequence[str]
) -> str:
    return (
        f"{weights} does not fit {name}: missing {preview(missing) or 'none'}, "
        f"unexpected {preview(extra) or 'none'}, wrong shape {preview(misfit) or 'none'}"
    )


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
        raise FileNotFoundError(f'no trunk weights at {path}; expected "imagenet", "timm" or a safetensors file')
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
