"""The views of a clip whose features are averaged: the clip itself, its mirror image, and both at two sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from stmga.embedding.network import TrackletNetwork
from stmga.transforms import ClipTransform
from stmga.utils.foreign import reason_of

VIEWS = ("flip", "two_sizes")  # options of the embedder, keys of items, fields of a protocol
LARGER = 1.25  # the second size over the first; its sides are the next multiples of 8


class Views:
    """What the embedder computes of each frame, and the transform that it needs for that.

    Args:
        model: the network.
        flip: the mirror image too.
        two_sizes: frames of :data:`LARGER` times the network's size too. Frames are read at the larger size, and made
            smaller from that.

    Attributes:
        marks: what items say about the views.

    Raises:
        ValueError: the network does not take frames of the larger size.
    """

    def __init__(self, model: TrackletNetwork, *, flip: bool, two_sizes: bool) -> None:
        self.model, self.flip = model, flip
        self.larger = _larger(model) if two_sizes else None
        self.marks = {name: True for name, on in zip(VIEWS, (flip, two_sizes), strict=True) if on}

    @property
    def transform(self) -> Callable[[Any], Tensor]:
        return self.larger or self.model.transform

    def __len__(self) -> int:
        return int(2 ** len(self.marks))

    def of(self, frames: Tensor) -> list[Tensor]:
        """(n 3 h w) after the transform -> the views of them."""
        sizes = [frames]
        if self.larger is not None:
            own: Any = self.model.transform
            sizes.insert(0, F.interpolate(frames, own.size, mode="bicubic", antialias=True))
        return [view for one in sizes for view in ((one, one.flip(-1)) if self.flip else (one,))]


def _larger(model: TrackletNetwork) -> ClipTransform:
    """The transform to the larger size, tried with black frames."""
    transform = model.transform
    if not isinstance(transform, ClipTransform):
        raise ValueError(f"two_sizes=True needs a network whose transform is a stmga.ClipTransform: {model}")
    height, width = (8 * math.ceil(LARGER * side / 8) for side in transform.size)
    frames = torch.zeros(model.clip_length, 3, height, width, dtype=torch.float32, device=model.device)
    try:
        with torch.inference_mode():
            network = model.for_inference(precision="fp32", compile=False, digest="")
            network.encode_clips(network.encode_frames(frames)[None])
    except Exception as error:  # a foreign network may raise anything
        what = f"two_sizes=True needs a network that takes frames of {height} x {width} too, and this one does not"
        raise ValueError(f"{what}: {reason_of(error)}") from error
    return replace(transform, size=(height, width))


def made_with(view: str, items: Iterable[Mapping[str, Any]]) -> bool | None:
    """Whether the vectors of these items were made with a view of :data:`VIEWS`; None if some were."""
    found = {item.get(view, False) is True for item in items}
    return found.pop() if len(found) == 1 else (None if found else False)
