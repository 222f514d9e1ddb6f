"""What the embedder's tests share: a tiny network and tracklets for it, in memory and on disk."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from stmga.config import STMGAConfig
from stmga.model import STMGA
from stmga.tracklets.tracklet import Tracklet

TINY = STMGAConfig(backbone="resnet18", stage="c4", size=(32, 16), clip_length=4)


def build(config: STMGAConfig) -> STMGA:
    """A network whose normalisations are not the identity, so that leaving eval mode would show."""
    torch.manual_seed(0)
    model = STMGA(config)
    for module in model.modules():
        if isinstance(module, (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model


def pixels(frames: int, seed: int, size: tuple[int, int] = (40, 20)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    low = rng.integers(0, 256, (frames, 5, 3, 3), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(f).resize(size[::-1], Image.Resampling.BICUBIC)) for f in low])


def tracklets(*lengths: int) -> list[Tracklet]:
    return [
        Tracklet(f"t{i}", pixels(n, i, (40 + i, 20 + i)), person=i // 2, camera=i % 2, extra={"role": "query"})
        for i, n in enumerate(lengths)
    ]


def write(root: Path, lengths: dict[str, int]) -> Path:
    for seed, (name, frames) in enumerate(lengths.items()):
        (root / name).mkdir(parents=True)
        for i, frame in enumerate(pixels(frames, seed)):
            Image.fromarray(frame).save(root / name / f"{i}.jpg", quality=95)
    return root


def truncate(file: Path) -> None:
    """What a full disk leaves behind: a good header, half a picture."""
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2 + 150])
