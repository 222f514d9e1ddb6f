"""RF-DETR by name, if the library is installed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stmga.people.boxes import DetectorError, Found

SIZES = {"nano": "RFDETRNano", "small": "RFDETRSmall", "medium": "RFDETRMedium", "large": "RFDETRLarge"}
EXTRA = 'pip install "stmga[rfdetr]"'
LOWEST = 0.1


class RFDETRDetector:
    """RF-DETR, trained on COCO: frame ``(h, w, 3)`` uint8 RGB -> boxes ``(n, 4)`` and scores ``(n,)`` of persons.

    Args:
        size: nano, small, medium or large.
        device: where it runs.

    Raises:
        ValueError: another size.
        ImportError: the library ``rfdetr`` is not installed.
    """

    def __init__(self, size: str = "nano", device: str = "cpu") -> None:
        if size not in SIZES:
            raise ValueError(f"rfdetr has the sizes {', '.join(SIZES)}, got {size!r}")
        try:
            import rfdetr
        except ImportError as error:
            raise ImportError(f"the detector rfdetr needs its library ({error}): {EXTRA}") from error
        self.model = getattr(rfdetr, SIZES[size])(device=device)

    def __call__(self, frame: NDArray[np.uint8]) -> Found:
        found = self.model.predict(frame, threshold=LOWEST)
        names = found.data.get("class_name")
        if names is None:  # its numbers of classes are COCO's with gaps, or a list's: only names are certain
            raise DetectorError("rfdetr returned no names of classes; install a newer version: " + EXTRA)
        keep = np.asarray(names) == "person"
        return found.xyxy[keep], found.confidence[keep]
