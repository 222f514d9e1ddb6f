"""Packs: the images of a data set in a few large files, because reading a million small ones slows training.

A pack is a folder with ``shard-00000.bin``, ... (the bytes of the image files, not re-encoded),
``manifest.jsonl`` (the tracklets, and where each frame is stored), ``protocol.json`` (name, terms and protocol) and
``pack.json`` with ``.inputs.jsonl`` (its settings and input files). The manifest is written last: a pack without it is
unfinished.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stmga.data.benchmark import Benchmark
from stmga.data.shards import MiB, Shards
from stmga.metrics.protocol import Protocol
from stmga.tracklets.images import close_shards
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError
from stmga.tracklets.validation import check_tracklets
from stmga.utils.claim import FolderClaim
from stmga.utils.files import atomic_write
from stmga.utils.foreign import MB, escaped, parse_json, read_regular

logger = logging.getLogger(__name__)

ABOUT, PROTOCOL, MANIFEST = "pack.json", "protocol.json", "manifest.jsonl"
VERSION = 1
PROTOCOL_LIMIT = 16 * MB
CLAIM = FolderClaim(
    file=ABOUT,
    what="a pack",
    other="is a pack of other data or other settings",
    named={"fingerprint": "labels, order or protocol differ, or it is of an older version"},
)


def pack(
    source: Benchmark | Sequence[Tracklet],
    folder: str | Path,
    *,
    shard_bytes: int = 256 * MiB,
    progress: bool = False,
    workers: int = 8,
    trust_content: bool = False,
) -> Path:
    """Write the images of a benchmark, or of tracklets, into a few large files; returns the manifest's path.

    `stmga.data.load_benchmark(folder)` reads it back: the same tracklets, boxes, roles, protocol and pixels, because
    the bytes are those of the image files. A shard gets its final name when it is complete and on disk. After a kill,
    the same call resumes at the first missing shard and ends with the same bytes. If the pack is complete, it does
    nothing.

    Args:
        source: a benchmark, or tracklets, with images on disk. A benchmark's name, terms and protocol are kept.
        folder: a new or empty folder, or a pack of the same data with the same settings.
        shard_bytes: a shard ends with the tracklet that reaches this size.
        progress: show a bar.
        workers: threads that read ahead.
        trust_content: when resuming, compare the contents of image files instead of their paths, sizes and modification
            times. The first call must have set it too.

    Raises:
        ValueError: the folder contains something else, an image has changed, another process is writing the pack, or a
            number is out of range.
        TrackletError: frames in memory or of a video, duplicate ids, a file that cannot be read.
        OSError: the disk is full or cannot be written. Complete shards are kept, and the same call resumes.

    >>> import tempfile
    >>> from PIL import Image
    >>> from stmga.data import load_benchmark
    >>> with tempfile.TemporaryDirectory() as root:
    ...     Image.new("RGB", (64, 128)).save(f"{root}/1.jpg")
    ...     manifest = pack([Tracklet("a", [f"{root}/1.jpg"], person=7)], f"{root}/pack")
    ...     [tracklet] = load_benchmark(manifest.parent).train
    ...     tracklet.frames[0].file.name, tracklet.frames[0].span[0], tracklet.load()[0].shape
    ('shard-00000.bin', 0, torch.Size([3, 128, 64]))
    """
    if shard_bytes < 1 or workers < 1:
        raise ValueError(f"shard_bytes and workers must be at least 1, got {shard_bytes} and {workers}")
    folder = Path(folder).absolute()
    tracklets = _tracklets(source)
    _check_source(tracklets)
    about = _about(source, tracklets, shard_bytes)
    with CLAIM.hold(folder, about, InputRecord(tracklets, contents=trust_content)):
        shards = Shards(folder, tracklets, shard_bytes=shard_bytes, workers=workers, progress=progress)
        if (folder / MANIFEST).is_file():
            logger.info("%s is already complete: %s tracklets", folder, f"{len(tracklets):,}")
        else:
            _write(source, shards)
        shards.tidy()
    return folder / MANIFEST


def is_pack(folder: Path) -> bool:
    """Whether `folder` is a pack, finished or not."""
    return (folder / ABOUT).is_file()


def about_pack(folder: Path) -> tuple[str, Protocol, str]:
    """Name, protocol and terms of a finished pack; TrackletError if it is not finished or damaged."""
    if not (folder / MANIFEST).is_file():
        raise TrackletError(f"{folder} is a pack that is not finished: run `stmga pack` again to resume")
    try:
        words = parse_json(read_regular(folder / PROTOCOL, PROTOCOL_LIMIT))
        return str(words["name"]), Protocol.from_dict(words["protocol"]), str(words["terms"])
    except (OSError, LookupError, TypeError, ValueError) as error:
        raise TrackletError(
            f"{folder / PROTOCOL} cannot be read: {escaped(str(error), 200)}; copy the pack again"
        ) from error


def _write(source: Benchmark | Sequence[Tracklet], shards: Shards) -> None:
    """Write what is missing, the manifest last."""
    close_shards()
    lines = shards.write()
    name, terms, protocol = "tracklets", "", Protocol(data="tracklets")
    if isinstance(source, Benchmark):
        name, terms, protocol = source.name, source.terms, source.protocol
    words = {"name": name, "terms": terms, "protocol": protocol.to_dict()}
    atomic_write(shards.folder / PROTOCOL, _json(words))
    atomic_write(shards.folder / MANIFEST, lines)


def _tracklets(source: Benchmark | Sequence[Tracklet]) -> list[Tracklet]:
    """All of a benchmark in its order, with their roles; tracklets without one as they are."""
    if not isinstance(source, Benchmark):
        return list(source)
    parts = (("train", source.train), ("query", source.query), ("gallery", source.gallery))
    return [replace(t, extra={**t.extra, "role": role}) for role, part in parts for t in part]


def _check_source(tracklets: list[Tracklet]) -> None:
    faults = []
    for tracklet in tracklets:
        frames = tracklet.frames
        if not isinstance(frames, tuple) or not all(isinstance(frame, Frame) for frame in frames):
            faults.append(f'tracklet "{tracklet.id}" is in memory: save its frames as images first')
        elif any(frame.index is not None for frame in frames):
            words = f"is frames of a video ({frames[0].file}): cut its crops to image files first"
            faults.append(f'tracklet "{tracklet.id}" {words}')
    check_tracklets(tracklets, check_files=False, faults=faults)


def _about(source: Benchmark | Sequence[Tracklet], tracklets: list[Tracklet], shard_bytes: int) -> dict[str, Any]:
    """The data and settings of a pack; equal only for equal data and settings."""
    digest = hashlib.sha256()
    for part in _parts(source, tracklets):
        digest.update(part.encode("utf-8", "surrogateescape") + b"\0")
    return {
        "stmga_pack": VERSION,
        "name": source.name if isinstance(source, Benchmark) else "tracklets",
        "tracklets": len(tracklets),
        "frames": sum(map(len, tracklets)),
        "shard_bytes": shard_bytes,
        "fingerprint": digest.hexdigest(),
    }


def _parts(source: Benchmark | Sequence[Tracklet], tracklets: list[Tracklet]) -> Iterator[str]:
    if isinstance(source, Benchmark):
        yield json.dumps([source.terms, source.protocol.to_dict()], sort_keys=True)
    for tracklet in tracklets:
        yield json.dumps(tracklet.labels(), sort_keys=True)


def _json(value: dict[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8", "surrogateescape")
