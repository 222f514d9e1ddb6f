"""Tracklets from what people have: a folder of folders of crops, a JSON Lines manifest, images and arrays in memory."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import MADE, RESERVED, check_tracklets
from stmga.utils.files import atomic_write

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})


def read_tracklets(source: Any, *, layout: str = "{tracklet}", check_files: bool = True) -> list[Tracklet]:
    """Tracklets from anything people have, checked; all faults in one `TrackletError`.

    Args:
        source: a folder (see `read_folder`), a `.jsonl` manifest (see `read_manifest`), `Tracklet`s, a dict from id to
            frames, or a list of frames (ids "0", "1", ...), where frames are anything that `Tracklet` takes.
        layout: of a folder.
        check_files: open the header of every file now (about 0.1 ms each). False leaves bad files to `Tracklet.load`:
            one tracklet may fail and the rest go on.

    >>> read_tracklets({"ann": np.zeros((4, 128, 64, 3), np.uint8)})
    [Tracklet(id='ann', person=None, camera=None, time=None, extra={})]
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if path.is_dir():
            return read_folder(path, layout=layout, check_files=check_files)
        if path.suffix == ".jsonl":
            return read_manifest(path, check_files=check_files)
        if not path.exists():
            raise TrackletError(f"{path} does not exist")
        raise TrackletError(
            f"{path} is no folder and no .jsonl manifest; a tracker's file needs its frames or video too: "
            "`stmga embed --mot-frames`, or stmga.tracklets.mot.read_mot in Python"
        )
    if isinstance(source, (np.ndarray, torch.Tensor)) or not isinstance(source, Iterable):
        kind = type(source).__name__
        raise TypeError(f"expected a folder, a manifest, a dict or a list of tracklets, got {kind}; write [frames]")
    named = source.items() if isinstance(source, Mapping) else ((str(i), item) for i, item in enumerate(source))
    tracklets = [item if isinstance(item, Tracklet) else Tracklet(name, item) for name, item in named]
    check_tracklets(tracklets, check_files=check_files)
    return tracklets


# ---- folders


def read_folder(root: str | Path, *, layout: str = "{tracklet}", check_files: bool = True) -> list[Tracklet]:
    """A folder of folders of crops: one tracklet for each folder at the depth of `layout`, frames in natural order.

    The id is the folder's path below `root`. `layout` says what the folder names mean, level by level: `{person}`,
    `{camera}`, `{tracklet}` (only a name) or any other word, kept in `extra`; the text around them must match. Labels
    are strings. Hidden files and files that are no images are passed over.

    >>> import PIL.Image, tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     (Path(root) / "0007" / "c3" / "a").mkdir(parents=True)
    ...     PIL.Image.new("RGB", (64, 128)).save(Path(root, "0007", "c3", "a", "1.jpg"))
    ...     read_folder(root, layout="{person}/c{camera}/{tracklet}")
    [Tracklet(id='0007/c3/a', person='0007', camera='3', time=None, extra={})]
    """
    root = Path(root).absolute()
    levels = [_level(level) for level in layout.strip("/").split("/")]
    if not root.is_dir():
        raise TrackletError(f"{root} is not a folder" if root.exists() else f"{root} does not exist")
    faults: list[str] = []
    tracklets = list(_walk(root, root, levels, layout, {}, faults))
    if not tracklets and not faults:
        faults.append(f'{root} has no tracklets: no folders at the depth of layout "{layout}"')
    place = lambda n, i: str(root / tracklets[n].id)  # noqa: E731
    check_tracklets(tracklets, check_files=check_files, place=place, faults=faults)
    return tracklets


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts `f2.jpg` before `f10.jpg`; names that differ only in leading zeros keep a fixed order.

    >>> sorted(["f10.jpg", "f2.jpg", "f02.jpg"], key=natural_key)
    ['f02.jpg', 'f2.jpg', 'f10.jpg']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))], name


def list_folder(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the images in `folder`, each in natural order, hidden ones left out."""
    folders, images = [], []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in IMAGES:
                    images.append(entry.name)
    except OSError as error:
        raise TrackletError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(folders, key=natural_key), sorted(images, key=natural_key)


def _level(level: str) -> re.Pattern[str]:
    parts = re.split(r"\{([A-Za-z_]+)\}", level)
    if len(parts) == 1 or any(brace in "".join(parts[::2]) for brace in "{}"):
        raise ValueError(f'layout level "{level}" names nothing; write for example "{{person}}/{{tracklet}}"')
    return re.compile("".join(f"(?P<{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)))


def _walk(
    root: Path,
    folder: Path,
    levels: Sequence[re.Pattern[str]],
    layout: str,
    labels: dict[str, str],
    faults: list[str],
) -> Iterator[Tracklet]:
    """Tracklets below `folder`; what does not fit the layout goes into `faults`."""
    try:
        folders, images = list_folder(folder)
    except TrackletError as error:
        faults += error.faults
        return
    wrong = images if levels else folders
    if wrong:
        what = "images above the level of tracklets" if levels else "folders below the level of tracklets"
        depth = len(folder.relative_to(root).parts) + (0 if levels else 1)
        hint = "/".join(["{person}", "{camera}", "{tracklet}"][-depth:]) if 0 < depth <= 3 else "..."
        faults.append(f'{folder} has {what} ({wrong[0]}); layout is "{layout}", perhaps it is "{hint}"')
    elif not levels and images:
        frames = tuple(Frame(folder / name) for name in images)
        extra = {key: value for key, value in labels.items() if key not in ("person", "camera", "tracklet")}
        name = folder.relative_to(root).as_posix()
        yield Tracklet(name, frames, labels.get("person"), labels.get("camera"), extra=extra)
    elif not levels:
        faults.append(f"{folder} has no images: an empty tracklet")
    for name in folders if levels else ():
        match = levels[0].fullmatch(name)
        if match:
            yield from _walk(root, folder / name, levels[1:], layout, labels | match.groupdict(), faults)
        else:
            faults.append(f'{folder / name} does not match its level of layout "{layout}"')


# ---- manifests


def read_manifest(path: str | Path, *, check_files: bool = True) -> list[Tracklet]:
    """A JSON Lines manifest: one object a line with `tracklet`, `frames`, and where known `person`, `camera`, `time`.

    A frame is a file name, or `{"file": ..., "box": [x, y, w, h], "index": 12}` for a box in it, or for a frame of a
    video (from 0). All frames of a tracklet may also be parts of one file, as `stmga pack` writes them: `"frames":
    {"file": ..., "spans": [[offset, length], ...]}`, with `"boxes"` where there are any. Relative names are relative
    to the manifest. Any other key of a line is kept in `Tracklet.extra`.
    """
    path = Path(path).absolute()
    tracklets: list[Tracklet] = []
    lines: list[int] = []
    faults: list[str] = []
    try:
        text = path.read_text("utf-8-sig", errors="surrogateescape")  # file names need not be UTF-8
    except OSError as error:
        raise TrackletError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        tracklet, wrong = _parse(line, path.parent)
        faults += [f"{path}:{number}: {fault}" for fault in wrong]
        if tracklet is not None:
            tracklets.append(tracklet)
            lines.append(number)
    if not tracklets and not faults:
        faults.append(f"{path} has no tracklets: it is empty")
    place = lambda n, i: f"{path}:{lines[n]}"  # noqa: E731
    check_tracklets(tracklets, check_files=check_files, place=place, faults=faults)
    return tracklets


def write_manifest(tracklets: Iterable[Tracklet], path: str | Path) -> None:
    """Write tracklets on disk as a manifest that `read_manifest` reads back the same; atomic.

    Files below the manifest's folder are written relative to it. Tracklets in memory have no files: `TrackletError`.
    """
    path, lines, faults = Path(path).absolute(), [], []
    for tracklet in tracklets:
        if not isinstance(tracklet.frames, tuple) or not all(isinstance(frame, Frame) for frame in tracklet.frames):
            faults.append(f'tracklet "{tracklet.id}" is in memory: save its frames as images first')
            continue
        lines.append(manifest_line(tracklet, path.parent))
    if faults:
        raise TrackletError(faults)
    atomic_write(path, "".join(lines).encode("utf-8", "surrogateescape"))


def manifest_line(tracklet: Tracklet, base: Path) -> str:
    """The line of a tracklet on disk in a manifest in the folder `base`, with its line end."""
    row = {key: value for key, value in tracklet.row().items() if key != "cover"}
    row["frames"] = _packed(tracklet, base) or [_written(frame, base) for frame in tracklet.frames]
    return json.dumps(row, ensure_ascii=False) + "\n"


def _packed(tracklet: Tracklet, base: Path) -> dict[str, Any] | None:
    """All frames of a tracklet in one object, where they are parts of one file."""
    frames = tracklet.frames
    if not frames or any(f.span is None or f.index is not None or f.file != frames[0].file for f in frames):
        return None
    row = {"file": _name(frames[0].file, base), "spans": [list(frame.span) for frame in frames]}
    if any(frame.box is not None for frame in frames):
        row["boxes"] = [frame.box and list(frame.box) for frame in frames]
    return row


def _written(frame: Frame, base: Path) -> str | dict[str, Any]:
    row = frame.to_dict() | {"file": _name(frame.file, base)}
    return row["file"] if len(row) == 1 else row


def _name(file: Path, base: Path) -> str:
    file = file.absolute()
    return file.relative_to(base).as_posix() if file.is_relative_to(base) else str(file)


def _parse(line: str, base: Path) -> tuple[Tracklet | None, list[str]]:
    """One line of a manifest: a tracklet if it can be made, and what is wrong with the line."""
    try:
        row = json.loads(line)
    except ValueError as error:
        return None, [f"no JSON: {error}"]
    if not isinstance(row, dict):
        return None, [f"expected an object {{...}}, got {type(row).__name__}"]
    faults = [f'the key "{key}" is missing' for key in ("tracklet", "frames") if key not in row]
    if isinstance(row.get("frames"), dict):
        items, wrong = _unpacked(row["frames"], base)
        faults += wrong
    elif isinstance(row.get("frames", []), list):
        items = (_frame(item, base) for item in row.get("frames", []))
    else:
        faults.append(f'"frames" must be a list, got {type(row["frames"]).__name__}')
    if faults:
        return None, faults
    frames: list[Frame] = []
    for i, frame in enumerate(items):
        if isinstance(frame, Frame):
            frames.append(frame)
        else:
            faults.append(f"frame {i}: {frame}")
    if faults and not frames:
        return None, faults
    extra = {key: value for key, value in row.items() if key not in RESERVED or key in MADE}  # for the check to name
    labels = row["tracklet"], row.get("person"), row.get("camera"), row.get("time")
    return Tracklet(labels[0], tuple(frames), *labels[1:], extra), faults


def _frame(item: Any, base: Path) -> Frame | str:
    """One frame of a manifest line, or what is wrong with it."""
    row = {"file": item} if isinstance(item, str) else item
    if not isinstance(row, dict) or not isinstance(row.get("file"), str) or not row["file"]:
        return f'expected a file name or {{"file": name, "box": [x, y, w, h], "index": n}}, got {str(item)[:80]}'
    if "camera" in row:
        return "has a camera of its own: two cameras in one tracklet; make it one tracklet for each camera"
    if unknown := row.keys() - {"file", "box", "index", "span"}:
        return f"unknown key {sorted(unknown)[0]!r}; a frame has file, box, index, span"
    box, index, span = row.get("box"), row.get("index"), row.get("span")
    if box is not None and not _is_box(box):
        return f"box must be [x, y, width, height] in pixels, got {str(box)[:80]}"
    if span is not None and not _is_span(span):
        return f"span must be [offset, length] in bytes, got {str(span)[:80]}"
    if index is not None and (isinstance(index, bool) or not isinstance(index, int)):
        return f"index must be the number of a video frame from 0, got {str(index)[:80]}"
    return Frame(base / row["file"], box and tuple(box), index, span and tuple(span))


def _unpacked(row: dict[str, Any], base: Path) -> tuple[Iterable[Frame | str], list[str]]:
    """Frames that are parts of one file, and what is wrong with them as a whole."""
    file, spans, boxes = row.get("file"), row.get("spans"), row.get("boxes")
    if unknown := row.keys() - {"file", "spans", "boxes"}:
        return (), [f"unknown key {sorted(unknown)[0]!r} in frames; packed ones have file, spans, boxes"]
    if not isinstance(file, str) or not file or not isinstance(spans, list) or not all(map(_is_span, spans)):
        words = 'frames must be a list, or {"file": name, "spans": [[offset, length], ...]}'
        return (), [f"{words}, got {str(row)[:80]}"]
    if boxes is None:
        path = base / file
        return (Frame(path, None, None, (offset, length)) for offset, length in spans), []
    if not isinstance(boxes, list) or len(boxes) != len(spans):
        return (), [f"frames have {len(spans)} spans, boxes must be a list of as many (null for the whole picture)"]
    items = ({"file": file, "span": span, "box": box} for span, box in zip(spans, boxes, strict=True))
    return (_frame(item, base) for item in items), []


def _is_box(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 4 and all(_number(number) for number in value)


def _is_span(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and type(value[0]) is int and type(value[1]) is int


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
