"""What linking writes beside its rows: a manifest with persons, and a track file for each camera."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from stmga.people.identities import Identities
from stmga.tracklets.manifest import write_manifest
from stmga.tracklets.track_writer import track_line
from stmga.tracklets.tracklet import Frame, Tracklet
from stmga.utils.files import atomic_write
from stmga.utils.text import counted, did_you_mean

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"


def with_persons(people: Identities, tracklets: Sequence[Tracklet]) -> list[Tracklet]:
    """The linked tracklets with their person filled in, in the order of ``tracklets``; the others are left out.

    The person is a known one, else ``"id-3"`` for identity 3 (:meth:`Identities.name`).

    Raises:
        ValueError: a linked tracklet is not among them.
    """
    found = {tracklet.id: tracklet for tracklet in tracklets}
    for row in people:
        if row.tracklet not in found:
            hint = f"; {meant}" if (meant := did_you_mean(row.tracklet, found)) else ""
            raise ValueError(f'tracklet "{row.tracklet}" was linked, but is not in the manifest{hint}')
    names = {row.tracklet: people.name(row.identity) for row in people}
    return [replace(t, person=names[t.id]) for t in tracklets if t.id in names]


def save_tracks(people: Identities, tracklets: Sequence[Tracklet], folder: str | os.PathLike[str]) -> list[Path]:
    """Write into a folder the manifest with persons, and a track file of identities for each camera.

    Track files (MOT) are written for tracklets that are boxes in the frames of videos: ``<camera>.txt``, or
    ``<camera>-<video>.txt`` if a camera has several videos. Other tracklets are counted and logged.

    Raises:
        ValueError: a linked tracklet is not among them.
        OSError: a file cannot be written.
    """
    folder = Path(folder)
    labelled = with_persons(people, tracklets)
    write_manifest(labelled, folder / MANIFEST)
    identity = {row.tracklet: row.identity for row in people}
    videos: dict[tuple[str, Path], list[tuple[int, int, str]]] = {}
    other = 0
    for tracklet in labelled:
        frames = [f for f in tracklet.frames if isinstance(f, Frame) and f.index is not None and f.box is not None]
        if len(frames) < len(tracklet) or len({frame.file for frame in frames}) != 1:
            other += 1
            continue
        rows = videos.setdefault((str(tracklet.camera), frames[0].file), [])
        number = identity[tracklet.id]
        rows += [(f.index, number, track_line(f.index, number, f.box)) for f in frames if f.box and f.index is not None]
    if other:
        logger.info("%s not in track files: not boxes in the frames of one video", counted(other, "tracklet"))
    names = _file_names(videos)
    for key, rows in videos.items():
        atomic_write(folder / names[key], "".join(line for _, _, line in sorted(rows)).encode())
    return [folder / MANIFEST, *(folder / name for name in names.values())]


def _file_names(videos: Mapping[tuple[str, Path], object]) -> dict[tuple[str, Path], str]:
    """A file name for each video; labels may hold characters that no file name can have, so names are made unique."""
    cameras = [camera for camera, _ in videos]
    names: dict[tuple[str, Path], str] = {}
    for camera, video in videos:
        name = camera if cameras.count(camera) == 1 else f"{camera}-{video.stem}"
        name = stem = re.sub(r"[^\w.-]|^\.", "_", name)[:100] or "_"
        number = 1
        while f"{name}.txt" in names.values():
            number += 1
            name = f"{stem}-{number}"
        names[camera, video] = f"{name}.txt"
    return names
