"""Tracklets from a folder of folders of crops."""

from __future__ import annotations

import logging
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from stmga.tracklets.layout import Layout, hint, match
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import check_tracklets
from stmga.utils.text import counted, preview

logger = logging.getLogger(__name__)

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"})
# What file servers and systems put beside the user's files; hidden names (._1.jpg, .DS_Store) are passed over too.
JUNK = frozenset({"@eadir", "@tmp", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "thumbs.db"})
JUNK |= {"desktop.ini", "$recycle.bin", "system volume information", "lost+found"}
MOST = 20_000  # folders examined to find the depth of the images


def read_folder(
    root: str | Path, *, layout: str = "{tracklet}", check_files: bool = True, max_pixels: int | None = None
) -> list[Tracklet]:
    """A folder of folders of crops: one tracklet for each folder at the depth of `layout`, frames in natural order.

    The id is the folder's path below `root`. `layout` says what the folder names mean, level by level: `{person}`,
    `{camera}`, `{tracklet}` (only a name) or any other word, kept in `extra`; `{_}` is not kept. The text around them
    must match. A last level with `{frame}` is the pattern of file names: `"{person}C{camera}T{tracklet}F{frame}"`
    reads `0001C1T0001F001.jpg` from one folder, tracklet by tracklet, in the order of `{frame}`.

    Labels are strings. Hidden files and those of file servers (`@eaDir`, `__MACOSX`) are skipped. Other files that are
    not images are left out, and one line of the log counts them. `max_pixels` as in `read_tracklets`.

    >>> import PIL.Image, tempfile
    >>> with tempfile.TemporaryDirectory() as root:
    ...     (Path(root) / "0007" / "c3" / "a").mkdir(parents=True)
    ...     PIL.Image.new("RGB", (64, 128)).save(Path(root, "0007", "c3", "a", "1.jpg"))
    ...     read_folder(root, layout="{person}/c{camera}/{tracklet}")
    [Tracklet(id='0007/c3/a', person='0007', camera='3', time=None, extra={})]
    """
    root = Path(root).absolute()
    walk = _Walk(root, Layout.parse(layout))
    if not root.is_dir():
        raise TrackletError(f"{root} is not a folder" if root.exists() else f"{root} does not exist")
    tracklets = list(walk.folder(root, 0, {}))
    faults = walk.all_faults()
    if walk.skipped:
        listed = ", ".join(
            counted(n, kind) if " " in kind else f"{n:,} {kind}" for kind, n in walk.skipped.most_common()
        )
        logger.warning("%s: left out, not images: %s; first: %s", root, listed, walk.first)
        if not tracklets and faults:
            faults[0] += f" (left out, not images: {listed})"
    if not tracklets and not faults:
        faults.append(f'{root} has no tracklets: no folders at the depth of layout "{layout}"')
    place = lambda n, i: str(tracklets[n].frames[i or 0].file.parent)  # noqa: E731
    return check_tracklets(tracklets, check_files=check_files, place=place, faults=faults, max_pixels=max_pixels)


def natural_key(name: str) -> tuple[list[str | int], str]:
    """Sorts `f2.jpg` before `f10.jpg`; names that differ only in leading zeros keep a fixed order.

    >>> sorted(["f10.jpg", "f2.jpg", "f02.jpg"], key=natural_key)
    ['f02.jpg', 'f2.jpg', 'f10.jpg']
    """
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"([0-9]+)", name))], name


class Listing(NamedTuple):
    """The folders and images in a folder, in natural order, and counts of other entries by kind."""

    folders: list[str]
    images: list[str]
    others: dict[str, list[str]]


def list_folder(folder: Path) -> Listing:
    """The contents of `folder`, without hidden names and the files of systems and file servers."""
    folders, images = [], []
    others: dict[str, list[str]] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith(".") or entry.name.lower() in JUNK:
                    continue
                kind = _kind(entry)
                if kind == "folder":
                    folders.append(entry.name)
                elif kind in IMAGES:
                    images.append(entry.name)
                else:
                    others.setdefault(kind, []).append(entry.name)
    except OSError as error:
        raise TrackletError(f"{folder} cannot be read: {error.strerror}") from error
    return Listing(sorted(folders, key=natural_key), sorted(images, key=natural_key), others)


def _kind(entry: os.DirEntry[str]) -> str:
    """ "folder", the suffix of a file in lower case, or the type of another entry."""
    try:
        mode = entry.stat().st_mode if entry.is_symlink() else 0
        if stat.S_ISDIR(mode) or (not mode and entry.is_dir()):
            return "folder"
        if stat.S_ISREG(mode) or (not mode and entry.is_file()):
            return os.path.splitext(entry.name)[1].lower() or "extensionless file"
    except OSError:
        return "broken link"
    return "special file"


@dataclass
class _Walk:
    """One pass over the folders below `root`: tracklets, what does not fit the layout, and what is left out."""

    root: Path
    layout: Layout
    skipped: Counter[str] = field(default_factory=Counter)
    first: str = ""
    faults: list[str] = field(default_factory=list)
    misplaced: list[str] = field(default_factory=list)  # images or folders at another depth
    unmatched: dict[str, list[str]] = field(default_factory=dict)  # {what: paths that do not fit their pattern}

    def folder(self, folder: Path, level: int, labels: dict[str, str]) -> Iterator[Tracklet]:
        """The tracklets below `folder`, whose path has these labels."""
        try:
            folders, images, others = list_folder(folder)
        except TrackletError as error:
            self.faults += error.faults
            return
        for kind, names in others.items():
            self.skipped[kind] += len(names)
            self.first = self.first or str(folder / min(names))
        if level < len(self.layout.folders):
            if images:
                self.misplaced.append(f"{folder} has images above the level of tracklets ({images[0]})")
            for name in folders:
                found = _fullmatch(self.layout.folders[level], name)
                if found is None or any(labels.get(key, value) != value for key, value in found.items()):
                    self.unmatched.setdefault("folder", []).append(str(folder / name))
                else:
                    yield from self.folder(folder / name, level + 1, labels | found)
        elif folders:
            self.misplaced.append(f"{folder} has folders below the level of tracklets ({folders[0]})")
        elif not images:
            self.faults.append(f"{folder} has no images: an empty tracklet")
        elif self.layout.names is None:
            yield self.tracklet(folder.relative_to(self.root).as_posix(), folder, images, labels)
        else:
            yield from self.by_name(folder, images, labels)

    def by_name(self, folder: Path, images: list[str], labels: dict[str, str]) -> Iterator[Tracklet]:
        """Tracklets whose labels are in the names of their images; `{frame}` gives the order."""
        groups: dict[tuple[str, ...], dict[str, str]] = {}
        of_group: dict[tuple[str, ...], dict[str, str]] = {}
        for name in images:
            found = match(self.layout.names, name)
            if found is None or any(labels.get(key, value) != value for key, value in found.items()):
                self.unmatched.setdefault("image", []).append(str(folder / name))
                continue
            frame = found.pop("frame")
            key = tuple(value for label, value in found.items() if label not in labels)
            earlier = groups.setdefault(key, {}).setdefault(frame, name)
            of_group[key] = labels | found
            if earlier != name:
                self.faults.append(f"{folder}: {earlier} and {name} are both frame {frame}: keep one of them")
        base = folder.relative_to(self.root).parts
        for key, frames in groups.items():
            names = [frames[number] for number in sorted(frames, key=natural_key)]
            yield self.tracklet("/".join((*base, *key)) or self.root.name, folder, names, of_group[key])

    def tracklet(self, name: str, folder: Path, images: list[str], labels: dict[str, str]) -> Tracklet:
        frames = tuple(Frame(folder / image) for image in images)
        extra = {key: value for key, value in labels.items() if key not in ("person", "camera", "tracklet")}
        return Tracklet(name, frames, labels.get("person"), labels.get("camera"), extra=extra)

    def all_faults(self) -> list[str]:
        """All faults. A layout that does not fit most folders is one fault, with the layout that is probably meant."""
        for what, paths in self.unmatched.items():
            few = preview(paths, 3)
            does = "does" if len(paths) == 1 else "do"
            words = f'{few}: {counted(len(paths), what)} {does} not match the layout "{self.layout.text}"'
            self.faults.append(words)
        if not self.misplaced:
            return self.faults
        depths = _depths(self.root)
        expected = len(self.layout.folders)
        deepest = max(depths, key=lambda depth: (depths[depth], depth == expected), default=expected)
        if deepest == expected:
            return self.faults + [f'{words}; layout is "{self.layout.text}"' for words in self.misplaced]
        where = f"{deepest} folders deep" if deepest != 1 else "one folder deep"
        words = f'{self.root}: its images are {where}, layout is "{self.layout.text}"; perhaps it is "{hint(deepest)}"'
        if deepest == 0:
            words = (
                f"{self.root} has images and no folders of them: move the images of each tracklet into a folder of its "
                "own; or if labels are in the names of files, say where, as "
                'layout="{person}C{camera}T{tracklet}F{frame}"'
            )
        return [*self.faults, words]


def _fullmatch(pattern: re.Pattern[str], name: str) -> dict[str, str] | None:
    found = pattern.fullmatch(name)
    return found.groupdict() if found else None


def _depths(root: Path) -> Counter[int]:
    """How many folders have images at each depth below `root`; links that lead back are not followed."""
    depths: Counter[int] = Counter()
    left, seen = [(root, 0)], 0
    while left and seen < MOST:
        folder, depth = left.pop()
        seen += 1
        try:
            folders, images, _ = list_folder(folder)
        except TrackletError:
            continue
        depths[depth] += bool(images)
        left += [(folder / name, depth + 1) for name in folders if not (folder / name).is_symlink() and depth < 30]
    return +depths
