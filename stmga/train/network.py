"""The network that a run starts from: for another input, or on a trained trunk."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stmga.backbones import load_backbone
from stmga.hub.records import WEIGHTS_FILE, WeightRecord, WeightsError, read_record
from stmga.model import STMGA


def with_input(model: STMGA, *, size: tuple[int, int] | None = None, clip_length: int | None = None) -> STMGA:
    """The network for frames of another size or clips of another length; None keeps the current one.

    It shares the weights of ``model``, whose configuration does not change. :func:`train` and
    :class:`stmga.TrackletEmbedder` take the input from the configuration. A trunk of timm is copied for another size,
    and its position embeddings are resized.

    Args:
        model: any network; no weight but position embeddings depends on its input.
        size: height and width of a frame in pixels.
        clip_length: frames in a clip.

    Raises:
        ValueError: a size or a length that no network can have, or a size that the trunk does not take.

    >>> from stmga.config import STMGAConfig
    >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4"))
    >>> small = with_input(model, size=(128, 64), clip_length=4)
    >>> small.config.clip_shape, model.config.clip_shape
    ('4 x 128 x 64', '8 x 256 x 128')
    >>> small.neck is model.neck
    True
    """
    asked = {"size": size, "clip_length": clip_length}
    config = replace(model.config, **{name: value for name, value in asked.items() if value is not None})  # type: ignore[arg-type]
    other = copy.copy(model)
    other.config = config
    other._modules = dict(model._modules)  # its own list of the same parts
    other.backbone = model.backbone.for_size(config.size)
    return other


def start_trunk(model: STMGA, source: str | Path, *, missing: Sequence[str] = ()) -> None:
    """Load the trunk of ``model``. The trunk of a saved network also brings that network's record.

    The terms and the licence of that record apply to everything trained on the trunk, and :func:`train` writes them
    into the record of its weights.

    Args:
        model: its trunk is changed in place.
        source: ``"imagenet"`` for a ResNet, ``"timm"`` for a network of timm, or a safetensors file of a trunk or of a
            saved network.
        missing: stages that this file is known to lack, such as ``["layer4"]``.

    Raises:
        ValueError: the file lacks stages, has unexpected ones, or is not a safetensors file; timm's weights want
            another mean and std than the configuration has.
        FileNotFoundError: no such file.
    """
    own = model.config
    load_backbone(model.backbone, source, name=own.backbone, missing=tuple(missing), mean=own.mean, std=own.std)
    model.record = _record_beside(Path(source))


def _record_beside(file: Path) -> WeightRecord | None:
    """The record of the saved network that a file belongs to; None for other files."""
    try:
        return read_record(file.parent) if file.name == WEIGHTS_FILE else None
    except WeightsError:  # other libraries use the same file names
        return None
