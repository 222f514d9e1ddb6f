"""Detectors of torchvision that were trained on COCO, by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from numpy.typing import NDArray

from stmga.people.boxes import Found
from stmga.utils.text import did_you_mean

LOWEST = 0.1  # boxes of lower scores tell nothing; a tracker uses those between this and its own threshold
BEST = (  # the first of these whose weights are on the disk is the default
    "fasterrcnn_resnet50_fpn_v2",
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_mobilenet_v3_large_fpn",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
)


def on_disk() -> str | None:
    """The best detector whose weights are on this disk already."""
    return next((name for name in BEST if weight_file(name)[0].is_file()), None)


def weight_file(name: str) -> tuple[Path, str]:
    """Where torchvision keeps the weights of a detector, and their address."""
    import torchvision

    url = torchvision.models.get_model_weights(name).DEFAULT.url
    return Path(torch.hub.get_dir()) / "checkpoints" / os.path.basename(url), url


class TorchvisionDetector:
    """A detector of torchvision: frame ``(h, w, 3)`` uint8 RGB -> boxes ``(n, 4)`` and scores ``(n,)`` of persons.

    Args:
        name: such as ``fasterrcnn_mobilenet_v3_large_320_fpn``; torchvision downloads its weights once.
        device: where it runs.

    Raises:
        ValueError: torchvision has no such detector.
        OSError: the weights are not on the disk and cannot be downloaded.
    """

    def __init__(self, name: str, device: str = "cpu") -> None:
        import torchvision

        names = torchvision.models.list_models(module=torchvision.models.detection)
        if name not in names:
            hint = did_you_mean(name, names) or f"it has {', '.join(names)}"
            raise ValueError(f"torchvision has no detector {name!r}; {hint}")
        weights = torchvision.models.get_model_weights(name).DEFAULT
        file, url = weight_file(name)
        try:
            model: Any = torchvision.models.get_model(name, weights=weights, progress=False)
        except (URLError, OSError) as error:
            raise OSError(f"the weights of {name} cannot be downloaded ({error}): put {url} at {file}") from error
        self.model = model.eval().to(device)
        self.device = device
        self.person = weights.meta["categories"].index("person")

    @torch.inference_mode()
    def __call__(self, frame: NDArray[np.uint8]) -> Found:
        image = torch.from_numpy(np.ascontiguousarray(frame)).to(self.device).permute(2, 0, 1).float() / 255
        (found,) = self.model([image])
        keep = (found["labels"] == self.person) & (found["scores"] >= LOWEST)
        return found["boxes"][keep].cpu().numpy(), found["scores"][keep].cpu().numpy()
