"""Detectors by name: a function from a frame to boxes and scores."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.people.detection_file import DetectionFile
from stmga.people.motion import Motion
from stmga.people.sources import Source
from stmga.utils.text import did_you_mean

Detector = Callable[[NDArray[np.uint8]], Any]  # frame (h, w, 3) RGB -> boxes (n, 4) x1 y1 x2 y2 in pixels, scores (n,)
NAMES = "motion, torchvision:NAME, rfdetr, rfdetr:SIZE, a MOT file of detections, or a folder of them"


class Detectors:
    """One detector for all videos, or one for each where it has a memory.

    Args:
        detector: a name, a file of detections, a folder of ``<camera>.txt``, or a function; None chooses: a detector of
            torchvision whose weights are on this disk, otherwise ``motion``.
        device: where a network runs.

    Attributes:
        name: of the detector, as text.
        notice: why it was chosen, or "".

    Raises:
        ValueError: an unknown name.
        ImportError: its library is not installed.
        OSError: its weights cannot be downloaded, or the file is missing.
    """

    def __init__(self, detector: str | Path | Detector | None = None, device: str = "cpu") -> None:
        self.notice = ""
        if detector is None:
            detector, self.notice = _default()
        self.path: Path | None = None
        self.detect: Detector | None = None
        if callable(detector):
            self.name, self.detect = _described(detector), detector
            return
        self.name = str(detector)
        if not self.name:
            raise ValueError(f"detector is empty; expected {NAMES}")
        kind, _, model = self.name.partition(":")
        if kind == "torchvision" and model:
            from stmga.people.torchvision_detector import TorchvisionDetector

            self.detect = TorchvisionDetector(model, device)
        elif kind == "rfdetr":
            from stmga.people.rfdetr_detector import RFDETRDetector

            self.detect = RFDETRDetector(model or "nano", device)
        elif self.name != "motion":
            self.path = Path(self.name)
            if not self.path.exists():
                names = ["motion", "torchvision:fasterrcnn_resnet50_fpn_v2", "rfdetr", "rfdetr:nano", "rfdetr:medium"]
                hint = did_you_mean(self.name, names) or f"expected {NAMES}"
                raise ValueError(f"no detector and no file {self.name!r}; {hint}")

    def of(self, source: Source, fps: float) -> Detector:
        """The detector for a video, without memory of another one."""
        if self.path is not None:
            return DetectionFile(self.path / f"{source.camera}.txt" if self.path.is_dir() else self.path)
        if self.detect is None:
            return Motion(fps)
        if hasattr(self.detect, "reset"):
            self.detect.reset()
        return self.detect


def _default() -> tuple[str, str]:
    from stmga.people.torchvision_detector import on_disk

    if found := on_disk():
        return f"torchvision:{found}", "its weights are on this disk"
    return "motion", "for fixed cameras; no weights of a detector are on this disk. Others: --detector torchvision:NAME"


def _described(detector: Any) -> str:
    kind = detector if hasattr(detector, "__qualname__") else type(detector)
    return f"{kind.__module__}.{kind.__qualname__}"
