"""Pictures of where the parts of a network look in the frames of a tracklet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from stmga.embedding.embeddings import Embeddings
from stmga.tracklets.split import evenly_spaced
from stmga.tracklets.tracklet import Tracklet
from stmga.transforms import ClipTransform
from stmga.utils.text import did_you_mean, preview
from stmga.visualize import part_overlay

if TYPE_CHECKING:
    from stmga.model import STMGA

FRAMES = 8  # at most


def check_parts(
    parts: Collection[str],
    model: STMGA | None,
    embeddings: Embeddings,
    tracklets: Sequence[Tracklet],
    pictures: bool = True,
) -> None:
    """Raise ValueError if the part attentions of these tracklets cannot be drawn."""
    if not parts:
        return
    if not pictures:
        raise ValueError("part attentions are pictures: give parts or pictures=False, not both")
    if model is None:
        raise ValueError("parts needs model, the network that made the embeddings")
    if model.digest() != embeddings.digest:
        raise ValueError(
            f"the model is not the one that made the embeddings ({embeddings.model or 'unnamed weights'}): its weights "
            f"are {model.digest()[:12]}, theirs {embeddings.digest[:12]}"
        )
    if not model.config.parts == "cpa":
        raise ValueError(f"this network has no part attention: its parts are {model.config.parts!r}, not 'cpa'")
    for known, where in ((embeddings.ids, "embeddings"), ([t.id for t in tracklets], "tracklets")):
        if absent := [name for name in parts if name not in set(known)]:
            hint = did_you_mean(absent[0], known)
            raise ValueError(f"parts names {preview(absent)}, which the {where} do not have. {hint}".rstrip())


def attention_picture(model: STMGA, tracklet: Tracklet) -> Image.Image:
    """At most eight frames of a tracklet, and a row of heat for each of the finest parts of CPA.

    Raises:
        TrackletError: a frame cannot be read.
    """
    frames = tracklet.load(evenly_spaced(len(tracklet), FRAMES))
    clip = ClipTransform.from_config(model.config)(frames)
    device = next(model.parameters()).device
    with torch.inference_mode():
        attention = model.forward_features(clip[None].to(device)).part_attention
    assert attention is not None  # check_parts has seen to it
    return part_overlay(_same_size(frames, model.config.size), attention[0, :, -max(model.config.part_scales) :])


def _same_size(frames: Sequence[torch.Tensor], size: tuple[int, int]) -> np.ndarray:
    """Frames (3 h w), uint8 or floats in 0..1, as uint8 (t h w 3) of the network's size."""
    found = []
    for frame in frames:
        pixels = (frame * 255).round().to(torch.uint8) if frame.is_floating_point() else frame
        image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
        found.append(np.asarray(image.resize((size[1], size[0]), Image.Resampling.BICUBIC)))
    return np.stack(found)
