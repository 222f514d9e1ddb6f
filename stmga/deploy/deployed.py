"""The module that is exported: the folded network, with its preprocessing if asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stmga.blocks.ops import at_least_float32
from stmga.model import STMGA
from stmga.transforms import ClipTransform


class Deployed(nn.Module):
    """(b t 3 h w) -> embedding (b c), feature (b c): what an exported file computes."""

    def __init__(self, model: STMGA, frames: Sequence[int] | None = None) -> None:
        super().__init__()
        self.model = model.fuse().cpu()  # refuses a network in training mode
        self.prepare = Prepare(ClipTransform.from_config(model.config), frames) if frames is not None else None
        self.frames = tuple(frames) if frames is not None else model.config.size
        self.eval()

    def forward(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        return self.encode_clips(self.encode_frames(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]))

    def encode_frames(self, frames: Tensor) -> Tensor:
        """(n 3 h w), uint8 where preprocessing is inside -> (n p c)."""
        return self.model.encode_frames(self.prepared(frames))

    def prepared(self, frames: Tensor) -> Tensor:
        """(... 3 h w) -> (... 3 h w) as the network takes them."""
        return frames if self.prepare is None else self.prepare(frames)

    def encode_clips(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(b t p c) -> embedding (b c), feature (b c)."""
        feature = at_least_float32(self.model.after_neck(self.model.encode_clips(features)))
        return F.normalize(feature, dim=-1), feature

    def example(self, b: int, t: int) -> Tensor:
        """Random clips as input, the same at each call."""
        draw = torch.Generator().manual_seed(b * 100 + t)
        if self.prepare is not None:
            return torch.randint(256, (b, t, 3, *self.frames), dtype=torch.uint8, device="cpu", generator=draw)
        return torch.rand((b, t, 3, *self.frames), dtype=torch.float32, device="cpu", generator=draw) * 4 - 2


class FrameHalf(nn.Module):
    """(b t 3 h w) -> (b t p c), the first half of an exported graph."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, clips: Tensor) -> Tensor:
        # Clips are prepared, not frames: OpenVINO 2026.4 cannot compile a normalisation by channel of four axes.
        frames = self.deployed.prepared(clips).flatten(0, 1)
        return self.deployed.model.encode_frames(frames).unflatten(0, clips.shape[:2])


class ClipHalf(nn.Module):
    """(b t p c) -> embedding (b c), feature (b c), the second half of an exported graph."""

    def __init__(self, deployed: Deployed) -> None:
        super().__init__()
        self.deployed = deployed

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        return self.deployed.encode_clips(features)


class Prepare(nn.Module):
    """(... 3 h w) uint8 -> (... 3 h w) float32: :class:`stmga.ClipTransform` for frames of one size.

    Resizing is linear in the rows and in the columns, so for frames of one size it is two matrix products. Every
    runtime has matrix products, but few have an antialiased bicubic filter.
    """

    rows: Tensor  # (height of the network, height of the frames)
    columns: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, transform: ClipTransform, frames: Sequence[int]) -> None:
        super().__init__()
        for name, here, there in zip(("rows", "columns"), frames, transform.size, strict=True):
            # the filter applied to each unit vector along this axis
            unit = torch.eye(here, dtype=torch.float32, device="cpu")[None, None]
            wide = F.interpolate(unit, (there, here), mode="bicubic", antialias=True)[0, 0]
            self.register_buffer(name, wide)
        self.register_buffer("mean", torch.tensor(transform.mean, dtype=torch.float32, device="cpu").view(3, 1, 1))
        self.register_buffer("std", torch.tensor(transform.std, dtype=torch.float32, device="cpu").view(3, 1, 1))

    def forward(self, frames: Tensor) -> Tensor:
        x = self.rows @ frames.float() @ self.columns.T
        return (x.clamp(0, 255) / 255 - self.mean) / self.std
