"""Tracklets from a folder of folders of crops."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import check_tracklets

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})


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
    return check_tracklets(tracklets, check_files=check_files, place=place, faults=faults)


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
                if _is_folder(entry):
                    folders.append(entry.name)
                elif os.path.splitext(entry.name)[1].lower() in IMAGES:
                    images.append(entry.name)
    except OSError as error:
        raise TrackletError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(folders, key=natural_key), sorted(images, key=natural_key)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself is none, and spoils nothing beside it
        return False


def _level(level: str) -> re.Pattern[str]:
    parts = re.split(r"\{([A-Za-z_]+)\}", level)
    if len(parts) == 1 or any(brace in "".join(parts[::2]) for brace in "{}"):
        raise ValueError(f'layout level "{level}" names nothing; write for example "{{person}}/{{tracklet}}"')
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if i % 2 else re.escape(part) for i, part in enumerate(parts)), re.DOTALL
    )


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
