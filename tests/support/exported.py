"""Exported files as a stranger may write them: where their members are, and that one is refused."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from stmga import STMGA, STMGAConfig
from stmga.deploy.exported import ExportedModel

PROGRAM, INPUTS, HEADER = "models/model.json", "data/sample_inputs/model.pt", "extra/stmga"
WEIGHTS, CONSTANTS = "data/weights/model_weights_config.json", "data/constants/model_constants_config.json"
CONFIG = STMGAConfig(
    backbone="resnet18", stage="c4", parts="none", part_scales=(1,), temporal_scales=(), t_mga=False, s_mga=False,
    size=(32, 16), clip_length=1,
)  # fmt: skip


def untrained(config: STMGAConfig) -> STMGA:
    """A network with the same random weights at each call, in eval mode."""
    torch.manual_seed(0)
    return STMGA(config).eval()


def refused(path: Path, match: str, **options) -> None:
    start = time.monotonic()
    with pytest.raises(ValueError, match=match) as caught:
        ExportedModel(path, **options)
    assert time.monotonic() - start < 30
    assert len(str(caught.value)) < 800 and str(caught.value).isprintable()
    assert not Path("pwned").exists()
