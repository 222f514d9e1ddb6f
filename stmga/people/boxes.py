"""What detectors return, checked and in one form."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.utils.arrays import to_numpy

Found = tuple[NDArray[np.float32], NDArray[np.float32]]  # boxes (n, 4) as x1, y1, x2, y2 in pixels, and scores (n,)
FORM = "expected boxes (n, 4) as x1, y1, x2, y2 in pixels and scores (n,)"

ROUNDING = 0.01  # pixels beyond the edge that are not worth a word


class DetectorError(ValueError):
    """A detector that returned something else than boxes and scores."""


def persons_of(result: Any, size: tuple[int, int], left_out: Counter[str], person_class: int | None = None) -> Found:
    """The boxes of persons in what a detector returned for one frame, inside the picture.

    Args:
        result: boxes ``(n, 4)`` and scores ``(n,)``, arrays or tensors; or ``supervision.Detections``.
        size: width and height of the picture.
        left_out: counts the boxes that were clipped to the picture, and those outside of it, which are left out.
        person_class: the number of persons in ``Detections`` that have numbers of classes without names.

    Raises:
        DetectorError: it has another form.

    >>> counts = Counter()
    >>> persons_of((np.array([[-5, 10, 20, 50]]), np.array([0.9])), (64, 48), counts)[0].tolist(), counts
    ([[0.0, 10.0, 20.0, 48.0]], Counter({'clipped': 1}))
    """
    if hasattr(result, "xyxy"):
        result = _of_supervision(result, person_class)
    if not isinstance(result, (tuple, list)) or len(result) != 2:
        raise DetectorError(f"the detector returned {type(result).__name__}{_length(result)}; {FORM}")
    boxes, scores = (_numbers(value, what) for value, what in zip(result, ("boxes", "scores"), strict=True))
    boxes = boxes.reshape(0, 4) if not boxes.size else boxes
    scores = scores.reshape(0) if not scores.size else scores
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise DetectorError(f"the detector returned boxes {boxes.shape} and scores {scores.shape}; {FORM}")
    _check(boxes, scores)
    return _inside(boxes, scores, size, left_out)


def _of_supervision(result: Any, person_class: int | None) -> tuple[Any, Any]:
    boxes = np.asarray(result.xyxy)
    scores = np.ones(len(boxes), np.float32) if result.confidence is None else np.asarray(result.confidence)
    names = (getattr(result, "data", None) or {}).get("class_name")
    if names is not None:
        keep = np.array([str(name).lower() == "person" for name in names], dtype=bool)
    elif result.class_id is None:
        return boxes, scores
    elif person_class is None:
        raise DetectorError(
            "the detections have numbers of classes and no names, so persons are unknown: pass "
            "person_class=0, or the number that your detector gives to persons"
        )
    else:
        keep = np.asarray(result.class_id) == person_class
    return boxes[keep], scores[keep]


def _length(result: Any) -> str:
    return f" of {len(result)}" if isinstance(result, (tuple, list)) else ""


def _numbers(value: Any, what: str) -> NDArray[Any]:
    try:
        array = to_numpy(value)
    except (TypeError, ValueError) as error:
        raise DetectorError(f"the detector's {what} are not an array ({error}); {FORM}") from error
    if array.size and array.dtype.kind not in "fiu":
        raise DetectorError(f"the detector's {what} are {array.dtype}, not numbers; {FORM}")
    return array


def _check(boxes: NDArray[Any], scores: NDArray[Any]) -> None:
    if not np.isfinite(boxes).all() or not np.isfinite(scores).all():
        raise DetectorError("the detector returned NaN or infinity among its boxes and scores")
    if len(scores) and not 0 <= scores.min() <= scores.max() <= 1:
        raise DetectorError(f"scores must be in 0..1, got {scores.min():g} to {scores.max():g}")
    wrong = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
    if wrong.any():
        shown = boxes[wrong][0].tolist()
        raise DetectorError(f"box {shown} ends before it begins: expected x1, y1, x2, y2, not x, y, width, height")
    if len(boxes) and boxes.min() >= 0 and boxes.max() <= 1:
        raise DetectorError(f"box {boxes[0].tolist()} is a share of the picture; multiply by its width and height")


def _inside(boxes: NDArray[Any], scores: NDArray[Any], size: tuple[int, int], left_out: Counter[str]) -> Found:
    limits = np.array([*size, *size], np.float32)
    clipped = boxes.astype(np.float32).clip(0, limits)
    keep = ((clipped[:, 2:] - clipped[:, :2]) >= 1).all(1)
    if not keep.all():
        left_out["outside"] += int((~keep).sum())
    if over := int((np.abs(clipped[keep] - boxes[keep]) > ROUNDING).any(1).sum()):
        left_out["clipped"] += over
    return clipped[keep], scores[keep].astype(np.float32)
