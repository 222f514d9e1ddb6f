"""Reads tracklets from a folder of folders of crops, a manifest, or images and arrays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga.tracklets.folders import IMAGES, read_folder
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.pixels import is_image
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.tracklets.validation import check_tracklets

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".ts", ".mpg", ".mpeg", ".wmv", ".flv"})


def read_tracklets(
    source: Any, *, layout: str = "{tracklet}", check_files: bool = True, max_pixels: int | None = None
) -> list[Tracklet]:
    """Tracklets from a folder, a manifest or memory, checked; all faults in one `TrackletError`.

    Args:
        source: a folder (see `read_folder`), a `.jsonl` manifest (see `read_manifest`), an image file, `Tracklet`s, a
            dict from id to frames, or a list of frames (ids "0", "1", ...), where frames are anything that `Tracklet`
            takes. So each item of a list is a tracklet of its own: `[image, image]` are two tracklets of one frame,
            `[[image, image]]` is one of two. A single image, array `(h, w, 3)` or tensor `(3, h, w)` has the id "0".
        layout: of a folder.
        check_files: open the header of every file now (about 0.1 ms each). False leaves bad files to `Tracklet.load`:
            one tracklet may fail and the rest continue.
        max_pixels: larger pictures are refused before they are decoded, also by `Tracklet.load`; default: 64 million.

    >>> read_tracklets({"ann": np.zeros((4, 128, 64, 3), np.uint8)})
    [Tracklet(id='ann', person=None, camera=None, time=None, extra={})]
    >>> [len(tracklet) for tracklet in read_tracklets(np.zeros((128, 64, 3), np.uint8))]
    [1]
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return read_folder(path, layout=layout, check_files=check_files, max_pixels=max_pixels)
        if path.suffix == ".jsonl":
            return read_manifest(path, check_files=check_files, max_pixels=max_pixels)
        if not path.exists():
            raise TrackletError(f"{path} does not exist")
        if path.suffix.lower() not in IMAGES:
            raise TrackletError(_wrong_file(path))
        source = [Tracklet(path.stem, path)]
    if isinstance(source, (np.ndarray, torch.Tensor)) and source.ndim == 4:
        raise TypeError(
            f"frames of shape {tuple(source.shape)} may show one person or {len(source)}; write [frames] for one "
            "tracklet, list(frames) for one tracklet per frame"
        )
    if isinstance(source, (Tracklet, np.ndarray, torch.Tensor)) or is_image(source):
        source = [source]
    if not isinstance(source, Iterable):
        kind = type(source).__name__
        raise TypeError(
            "expected a folder, a manifest, an image, an array, a dict from id to frames or a list of frames (each a "
            f"tracklet), got {kind}"
        )
    named = source.items() if isinstance(source, Mapping) else ((str(i), item) for i, item in enumerate(source))
    tracklets = [item if isinstance(item, Tracklet) else Tracklet(name, item) for name, item in named]
    return check_tracklets(tracklets, check_files=check_files, max_pixels=max_pixels)


def _wrong_file(path: Path) -> str:
    advice = "`stmga embed TRACKS --mot-frames FRAMES`, or stmga.tracklets.mot.read_mot in Python"
    if path.suffix.lower() in VIDEOS:
        return f"{path} is a video; the boxes of the persons in it are needed too, as a tracker writes them: {advice}"
    return f"{path} is not a folder, a .jsonl manifest or an image; a tracker's file needs its frames too: {advice}"
