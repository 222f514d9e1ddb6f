"""The names of architectures and trained weights, and the function that builds either."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from stmga._version import __version__
from stmga.config import ARCHITECTURES, CUSTOM, TIMM, STMGAConfig
from stmga.hub.records import WeightRecord, WeightsError, bundled_records, read_record
from stmga.utils.text import did_you_mean, preview

if TYPE_CHECKING:
    import torch
    from torch import nn

    from stmga.model import STMGA
    from stmga.transforms import ClipTransform

# The weight that `pretrained=True` loads if an architecture has several: architecture -> tag.
DEFAULT_TAGS = {  # of architectures with several weights
    "stmga_resnet18_c4": "market_cuhk03",
    "stmga_resnet50_c4": "market_cuhk03_256",
}
INPUT_FIELDS = {"clip_length", "size", "mean", "std"}  # fields in which a weight may differ from its architecture


def list_models(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names of the architectures that match ``pattern`` (``*`` and ``?`` as in file names).

    ``pretrained=True`` gives the trained weights of these architectures instead, as ``"architecture.tag"``: the names
    that :func:`create_model` loads. Then ``pattern`` may match the architecture or the whole name.

    >>> list_models("*resnet18*")
    ['stmga_resnet18_c4', 'stmga_resnet18_c4_baseline']
    >>> list_models("stmga_resnet18_c4", pretrained=True)
    ['stmga_resnet18_c4.market_cuhk03', 'stmga_resnet18_c4.market_cuhk03_256']
    """
    if not pretrained:
        return [name for name in ARCHITECTURES if fnmatchcase(name, pattern)]
    found = bundled_records().values()
    return [r.name for r in found if fnmatchcase(r.name, pattern) or fnmatchcase(r.arch, pattern)]


def list_weights(pattern: str = "*") -> list[str]:
    """Names of the trained weights, ``"architecture.tag"``, that match ``pattern``."""
    return [name for name in bundled_records() if fnmatchcase(name, pattern)]


def get_weights(name: str) -> WeightRecord:
    """The record of a trained weight: where it is, its training data, its figures and its terms of use.

    Raises:
        ValueError: no such weight; the message names the closest one, or what to do with a file.
    """
    records = bundled_records()
    if name not in records:
        folder = f" (the folder of that name is './{name}')" if Path(name).is_dir() else ""
        if wrong := _wrong_file(name):
            raise WeightsError(wrong)
        raise WeightsError(f"There are no weights called {name!r}{folder}; {_suggest(name, records)}")
    return records[name]


def is_name(name: str | Path) -> bool:
    """Whether it is ``"architecture"`` or ``"architecture.tag"``, even if a folder has this name.

    >>> is_name("stmga_resnet50"), is_name("./stmga_resnet50"), is_name("owner/model")
    (True, False, False)
    """
    return isinstance(name, str) and not re.search(r"[/\\]", name) and name.partition(".")[0] in ARCHITECTURES


def get_transform(name: str | Path, *, pretrained: bool = False) -> ClipTransform:
    """The preprocessing of an architecture, of a weight by name, or of a folder that ``save_pretrained`` made.

    Args:
        name: as in :func:`create_model`, or such a folder.
        pretrained: take that of the architecture's default weights, whose input may differ from the architecture's.

    >>> get_transform("stmga_resnet18_c4").size
    (256, 128)
    >>> get_transform("stmga_resnet18_c4", pretrained=True).size
    (192, 96)
    """
    if not is_name(name) and Path(name).is_dir():
        return read_record(name).transform()
    arch, record = _resolve(str(name), pretrained, None)
    if isinstance(record, WeightRecord):
        return record.transform()
    from stmga.transforms import ClipTransform

    return ClipTransform.from_config(ARCHITECTURES[arch])


def create_model(
    name: str,
    *,
    pretrained: bool = False,
    weights: str | Path | WeightRecord | None = None,
    backbone: str | nn.Module | None = None,
    backbone_weights: str | Path | None = None,
    backbone_missing: Sequence[str] = (),
    cache_dir: str | Path | None = None,
    local_files_only: bool = False,
    device: str | torch.device = "cpu",
) -> STMGA:
    """A network by name: with random weights and in train mode, or trained, verified and in eval mode.

    Args:
        name: an architecture of :func:`list_models`, or ``"architecture.tag"`` of :func:`list_weights`.
        pretrained: take the architecture's default weights.
        weights: the weights to load: a tag, an ``"architecture.tag"``, a record, or a ``save_pretrained`` folder.
        backbone: another trunk than the architecture's: a name as in :class:`STMGAConfig`, such as ``"resnet50_ibn"``
            or ``"timm:convnext_tiny"``, or a module of the user's own, frames (n 3 h w) -> map (n c h/16 w/16). A
            network of timm gets the mean and std that timm states for it. With ``weights``: the trunk of that folder.
        backbone_weights: the trunk's weights if there are no trained ones: ``"imagenet"`` for a ResNet, ``"timm"`` for
            a network of timm, or a safetensors file.
        backbone_missing: stages that this file is known to lack, such as ``["layer4"]``.
        cache_dir: the Hub's cache; by default huggingface_hub's.
        local_files_only: make no request.
        device: the device of the network.

    Raises:
        ValueError: an unknown name, or weights that are not available; the message says what to type.

    >>> create_model("stmga_resnet18_c4").dim
    256
    """
    arch, source = _resolve(name, pretrained, weights)
    config, module = _with_trunk(ARCHITECTURES[arch], backbone)
    if source is None:
        return _untrained(config, module, backbone_weights, backbone_missing, device)
    if backbone_weights is not None:
        raise WeightsError(
            "Trained weights bring their own trunk: leave out backbone_weights, or pretrained and weights."
        )
    from stmga.hub import load_record
    from stmga.model import STMGA

    if isinstance(source, WeightRecord):
        _check_arch(arch, config, source, source.name or "the record")
        return load_record(source, cache_dir=cache_dir, local_files_only=local_files_only, build=STMGA, device=device)
    _check_arch(arch, config, read_record(source), str(source))
    return STMGA.from_pretrained(source, backbone=module, device=device)


def with_backbone(config: STMGAConfig, backbone: str) -> STMGAConfig:
    """The configuration with another trunk, by name; a network of timm brings the mean and std of its weights.

    Raises:
        ValueError: no such trunk.
        ImportError: a network of timm, and timm is not installed.

    >>> with_backbone(STMGAConfig(), "resnet50_ibn").backbone
    'resnet50_ibn'
    """
    config = replace(config, backbone=backbone)
    if not backbone.startswith(TIMM):
        return config
    from stmga.backbones.timm_weights import preprocessing

    mean, std = preprocessing(backbone.removeprefix(TIMM))
    return replace(config, mean=mean, std=std)


def _with_trunk(config: STMGAConfig, backbone: str | nn.Module | None) -> tuple[STMGAConfig, nn.Module | None]:
    """The configuration with another trunk, and the user's module, if it is one."""
    if backbone is None:
        return config, None
    if isinstance(backbone, str):
        return with_backbone(config, backbone), None
    return replace(config, backbone=CUSTOM), backbone


def _untrained(
    config: STMGAConfig,
    module: nn.Module | None,
    trunk: str | Path | None,
    missing: Sequence[str],
    device: str | torch.device,
) -> STMGA:
    from stmga.backbones import load_backbone
    from stmga.model import STMGA

    if missing and trunk is None:
        raise WeightsError("backbone_missing says what a trunk's file lacks; give that file as backbone_weights.")
    model = STMGA(config, module)
    if trunk is not None:
        own = {"name": config.backbone, "mean": config.mean, "std": config.std}
        load_backbone(model.backbone, trunk, missing=missing, **own)  # type: ignore[arg-type]
    return model.to(device)


def _resolve(
    name: str, pretrained: bool, weights: str | Path | WeightRecord | None
) -> tuple[str, WeightRecord | Path | None]:
    """The architecture, and the record or folder of its trained weights (None for random weights)."""
    if not is_name(name) and (not isinstance(name, str) or Path(name).is_dir() or re.search(r"[/\\]", name)):
        raise WeightsError(
            _wrong_file(name)
            or f"{str(name)!r} is not an architecture; a folder or a Hub id is loaded by "
            f"STMGA.from_pretrained({str(name)!r})."
        )
    arch, _, tag = name.partition(".")
    if arch not in ARCHITECTURES:
        raise WeightsError(_wrong_file(name) or f"There is no architecture {arch!r}; {_suggest(arch, ARCHITECTURES)}")
    if tag:
        if weights is not None and weights not in (name, tag):
            raise WeightsError(f"{name!r} names its weights already; leave out weights={weights!r}, or write {arch!r}.")
        return arch, get_weights(name)
    if weights is None:
        return arch, _default(arch) if pretrained else None
    if isinstance(weights, WeightRecord):
        return arch, weights
    if not isinstance(weights, str | Path):
        raise TypeError(f"weights must be a name, a folder or a WeightRecord, not {type(weights).__name__}")
    wrong = _wrong_file(weights)
    if wrong and not {weights, f"{arch}.{weights}"} & bundled_records().keys():  # a weight of that name comes first
        raise WeightsError(wrong)
    if isinstance(weights, Path) or Path(weights).is_dir():
        return arch, Path(weights)
    if re.search(r"[/\\~]", weights):
        raise WeightsError(
            f"There is no folder {weights!r}; if it is a Hub id, write STMGA.from_pretrained({weights!r})."
        )
    return arch, get_weights(weights if weights.partition(".")[0] in ARCHITECTURES else f"{arch}.{weights}")


def _wrong_file(given: object) -> str:
    from stmga.hub.wrong_file import wrong_file

    return wrong_file(given) if isinstance(given, str | Path) else ""


def _default(arch: str) -> WeightRecord:
    records = {record.tag: record for record in bundled_records().values() if record.arch == arch}
    if not records:
        others = ", ".join(bundled_records())
        elsewhere = f" (there are {others})" if others else ""
        raise WeightsError(
            f"stmga {__version__} has no trained weights of {arch} yet{elsewhere}. Give a folder of your own with "
            'weights="path", or start from a trained trunk with backbone_weights="imagenet" and pretrained=False.'
        )
    tag = DEFAULT_TAGS.get(arch) or (next(iter(records)) if len(records) == 1 else None)
    if tag not in records:
        raise WeightsError(f"{arch} has several weights; choose one: weights={' or '.join(map(repr, records))}.")
    return records[tag]


def _check_arch(arch: str, config: STMGAConfig, record: WeightRecord, origin: str) -> None:
    """Raise unless a weight has the architecture asked for. Only its input size and clip length may differ."""
    want, have = config.to_dict(), record.config.to_dict()
    differ = [f"{k}={have[k]!r} instead of {want[k]!r}" for k in want if want[k] != have[k] and k not in INPUT_FIELDS]
    if differ:
        raise WeightsError(
            f"{origin} is not a {arch}: it has {', '.join(differ)}. Load it as what it is with STMGA.from_pretrained."
        )


def _suggest(name: str, names: Iterable[str]) -> str:
    names = list(names)
    return did_you_mean(name, names) or (
        f"there are {preview(names)}." if names else "this version of stmga knows none yet."
    )
