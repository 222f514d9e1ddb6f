"""Reads tracklets from a folder of folders of crops, a manifest, or images and arrays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga.tracklets.folders import read_folder
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.tracklets.validation import check_tracklets


def read_tracklets(
    source: Any, *, layout: str = "{tracklet}", check_files: bool = True, max_pixels: int | None = None
) -> list[Tracklet]:
    """Tracklets from a folder, a manifest or memory, checked; all faults in one `TrackletError`.

    Args:
        source: a folder (see `read_folder`), a `.jsonl` manifest (see `read_manifest`), `Tracklet`s, a dict from id to
            frames, or a list of frames (ids "0", "1", ...); frames are anything that `Tracklet` takes.
        layout: of a folder.
        check_files: open the header of every file now (about 0.1 ms each). False leaves bad files to `Tracklet.load`:
            one tracklet may fail and the rest continue.
        max_pixels: larger pictures are refused before they are decoded, also by `Tracklet.load`; default: 64 million.

    >>> read_tracklets({"ann": np.zeros((4, 128, 64, 3), np.uint8)})
    [Tracklet(id='ann', person=None, camera=None, time=None, extra={})]
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return read_folder(path, layout=layout, check_files=check_files, max_pixels=max_pixels)
        if path.suffix == ".jsonl":
            return read_manifest(path, check_files=check_files, max_pixels=max_pixels)
        if not path.exists():
            raise TrackletError(f"{path} does not exist")
        raise TrackletError(
            f"{path} is neither a folder nor a .jsonl manifest; a tracker's file needs its frames or video too: "
            "`stmga embed --mot-frames`, or stmga.tracklets.mot.read_mot in Python"
        )
    if isinstance(source, (np.ndarray, torch.Tensor)) or not isinstance(source, Iterable):
        kind = type(source).__name__
        raise TypeError(f"expected a folder, a manifest, a dict or a list of tracklets, got {kind}; write [frames]")
    named = source.items() if isinstance(source, Mapping) else ((str(i), item) for i, item in enumerate(source))
    tracklets = [item if isinstance(item, Tracklet) else Tracklet(name, item) for name, item in named]
    return check_tracklets(tracklets, check_files=check_files, max_pixels=max_pixels)


# ---- folders
