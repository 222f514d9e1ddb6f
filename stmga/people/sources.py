"""Where frames come from: a video file, a camera of this computer, or an address."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from stmga.utils.foreign import escaped
from stmga.utils.text import did_you_mean, preview


@dataclass(frozen=True)
class Source:
    """One camera.

    Attributes:
        camera: its name, which is in all ids and file names: letters, digits, spaces, and ``.``, ``-`` and ``_``.
        address: a file, a device (``/dev/video0``), or an address (``rtsp://...``).
        live: it can be read only once, so crops are kept.

    Raises:
        ValueError: another name, or an empty address.
    """

    camera: str
    address: str
    live: bool = False

    def __post_init__(self) -> None:
        if not self.address:
            raise ValueError("the name of a video is empty: give a file, a camera or an address")
        if fault := _name_fault(self.camera):
            raise ValueError(
                f"the camera name '{escaped(self.camera, 80)}' {fault}; it may have letters, digits, spaces and . - _: "
                f"write NAME={escaped(self.public_address, 200)}"
            )

    @property
    def public_address(self) -> str:
        """The address without user and password, for files and messages."""
        return re.sub(r"://[^/@]*@", "://", self.address)

    @classmethod
    def parse(cls, text: str | os.PathLike[str]) -> Source:
        """``video.mp4``, ``NAME=video.mp4``, ``0``, ``/dev/video0`` or ``rtsp://...``, with a name before it or not.

        >>> Source.parse("door=rtsp://10.0.0.7/stream")
        Source(camera='door', address='rtsp://10.0.0.7/stream', live=True)
        """
        text = os.fspath(text)
        name, equals, address = text.partition("=")
        could_be_name = re.fullmatch("[^/:?]+", name) or Path(address).is_file()
        is_named = equals and could_be_name and not Path(text).is_file()
        if not is_named:
            address = text
        if re.fullmatch("[0-9]+", address):
            address = f"/dev/video{address}"
        live = "://" in address or address.startswith("/dev/")
        if not is_named and live:
            name = Path(address).name if address.startswith("/dev/") else re.sub("[^0-9A-Za-z]+", "-", _host(address))
        elif not is_named:
            name = Path(address).stem
        return cls(name, address, live)


Video: TypeAlias = str | os.PathLike[str] | Source


def sources_of(videos: Video | Iterable[Video]) -> list[Source]:
    """The sources, whose names differ and whose files exist.

    Raises:
        ValueError: none, two of one name, or a name that is not one of a file.
        OSError: a file is missing.
    """
    listed = [videos] if isinstance(videos, (str, os.PathLike, Source)) else list(videos)
    sources = [video if isinstance(video, Source) else Source.parse(video) for video in listed]
    if not sources:
        raise ValueError("there is no video to track")
    taken: dict[str, Source] = {}
    for source in sources:
        other = taken.setdefault(source.camera.casefold(), source)
        if other is not source:
            raise ValueError(
                f"two videos of one camera name, {source.camera!r}: {other.address} and {source.address}; "
                f"name one of them: NAME={source.address}"
            )
        if not source.live and not Path(source.address).exists():
            raise FileNotFoundError(f"{source.address} does not exist")
    return sources


def by_camera(values: Iterable[str] | Mapping[str, Any], sources: list[Source], what: str) -> dict[str, Any]:
    """``NAME=value`` for several cameras, or one ``value`` for the only camera -> {camera: value}.

    >>> by_camera(["door=5"], [Source("door", "door.mp4")], "start")
    {'door': '5'}
    """
    names = [source.camera for source in sources]
    found: dict[str, Any] = {}
    pairs = values.items() if isinstance(values, Mapping) else (_named(value, names) for value in values)
    for name, value in pairs:
        if name not in names:
            if name:
                hint = did_you_mean(name, names) or f"the cameras are {preview(names)}"
                raise ValueError(f"{what} names camera {name!r}, which is not there; {hint}")
            raise ValueError(f"{what} {value!r} is for which of {len(names)} cameras? Write NAME={value}")
        if name in found:
            raise ValueError(f"{what} is given twice for camera {name!r}")
        found[name] = value
    return found


def _named(value: str, names: list[str]) -> tuple[str, str]:
    name, equals, rest = value.partition("=")
    if equals:
        return name, rest
    return (names[0] if len(names) == 1 else ""), value


def _host(address: str) -> str:
    """Host and path of an address, without user, password and query."""
    return re.sub(r"^.*://([^/@]*@)?", "", address).partition("?")[0].strip("/")


def _name_fault(name: str) -> str:
    """Why a camera cannot have this name, or "": file names are made from it."""
    if not name:
        return "is empty"
    if len(name) > 100:
        return f"has {len(name)} characters, more than 100"
    if name.startswith(".") or name != name.strip():
        return "begins with a dot" if name.startswith(".") else "begins or ends with a space"
    wrong = next((c for c in name if c not in " .-_" and unicodedata.category(c)[0] not in "LMN"), None)
    return "" if wrong is None else f"has '{escaped(wrong, 10)}'"
