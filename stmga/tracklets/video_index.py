"""The numbers of a video's pictures, read from its packets if these prove them; nothing is decoded."""

from __future__ import annotations

import bisect
import functools
import statistics
import threading
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from stmga.tracklets.video_file import open_video

INTERVAL = 0.5, 1.5  # of the usual time between two pictures; outside this range, a picture may have been lost
LONG = 1.5  # times the usual number of pictures between two keyframes; above it, a keyframe may have been lost


class Packet(NamedTuple):
    """The properties of a packet that matter here."""

    shown: int | None  # time stamp of its picture
    decoded: int | None  # time stamp by which it is to be decoded
    size: int  # bytes
    key: bool  # whether decoding can start here
    good: bool  # not empty, not flagged as damaged, not all zeros
    cut: bool  # an edit list cuts its picture away


@dataclass
class VideoIndex:
    """Time stamps of a video's pictures by number: all if its packets prove them, else those `counted` so far.

    `doubtful` has spans, from one keyframe to the next, in which a packet may be missing. Decode them before relying on
    later numbers: after a lost keyframe, a decoder drops pictures whose packets all exist.
    """

    shown: array[int] = field(default_factory=lambda: array("q"))
    keys: list[int] = field(default_factory=list)  # numbers of the keyframes, rising
    stamps: array[int] = field(default_factory=lambda: array("q"))  # of the packets, rising; none if two are equal
    sizes: array[int] = field(default_factory=lambda: array("q"))  # of the packets, in bytes
    doubtful: list[tuple[int, int]] = field(default_factory=list)
    counted: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def key_before(self, number: int) -> int | None:
        """The number of the last keyframe up to a picture, if there is one to seek to."""
        index = bisect.bisect_right(self.keys, number) if self.stamps else 0
        return self.keys[index - 1] if index else None

    def has(self, stamp: int, size: int) -> bool:
        """Whether the packet with that time stamp has that size: some containers confuse stamps after a seek."""
        index = bisect.bisect_left(self.stamps, stamp)
        return index < len(self.stamps) and self.stamps[index] == stamp and self.sizes[index] == size

    def count(self, number: int, stamp: int | None, key: bool) -> None:
        """Record a picture that was reached by decoding all before it."""
        with self.lock:  # another thread may be decoding the same file
            if stamp is None:
                self.stamps = array("q")
            elif number == len(self.shown):
                self.shown.append(stamp)
                if key:
                    self.keys.append(number)

    def recount(self) -> None:
        """Discard the numbers from the packets, and count instead."""
        with self.lock:
            self.shown, self.keys, self.doubtful, self.counted = array("q"), [], [], True


@functools.lru_cache(maxsize=64)
def video_index(file: str, changed: int) -> VideoIndex:
    """The index of a file; `changed` only distinguishes versions of a file in the cache.

    Raises:
        VideoError: it has no video stream of a known codec.
        av.FFmpegError: it cannot be read.
    """
    container, stream = open_video(Path(file))
    with container:
        packets = [_packet(packet) for packet in container.demux(stream) if packet.size or packet.pts is not None]
        delayed = bool(stream.codec_context.has_b_frames)
        timed = container.format.name != "avi"  # avi stamps count packets, so they cannot show that one is missing
    stamps = sorted((packet.shown, packet.size) for packet in packets if packet.shown is not None)
    index = VideoIndex()
    if len({stamp for stamp, _ in stamps}) == len(packets):
        index.stamps, index.sizes = array("q", [stamp for stamp, _ in stamps]), array("q", [size for _, size in stamps])
    if _proves_order(packets, delayed, timed):
        _prove(index, packets)
    return index


def _packet(packet: Any) -> Packet:
    good = packet.size > 0 and not packet.is_corrupt and any(memoryview(packet)[:8])
    return Packet(packet.pts, packet.dts, packet.size, packet.is_keyframe, good, packet.is_discard)


def _proves_order(packets: list[Packet], delayed: bool, timed: bool) -> bool:
    """Whether the pictures surely come in the order of their time stamps, one for each packet.

    They do not in recordings joined end to end, whose stamps start again, in streams that start between keyframes, and
    where the container made up stamps in decoding order although the display order differs (`delayed`).
    """
    shown = [packet.shown for packet in packets if packet.shown is not None]
    keys = [packet.shown or 0 for packet in packets if packet.key]
    kept = [packet.shown or 0 for packet in packets if not packet.cut]
    intra = len(keys) == len(packets)
    return (
        bool(kept)
        and packets[0].key
        and len(set(shown)) == len(packets)
        and all(packet.good for packet in packets)
        and kept[0] == min(kept)  # otherwise earlier pictures depend on data from before the file
        and _rising(packet.decoded for packet in packets if packet.decoded is not None)
        and _rising(keys)
        and (intra or (timed and not (delayed and _rising(shown))))
    )


def _rising(stamps: Iterable[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(stamps))


def _prove(index: VideoIndex, packets: list[Packet]) -> None:
    """Fill the index from packets that prove the order."""
    kept = sorted((packet.shown or 0, packet.key) for packet in packets if not packet.cut)
    index.shown, index.counted = array("q", [stamp for stamp, _ in kept]), False
    index.keys = [number for number, (_, key) in enumerate(kept) if key]
    starts = sorted({0, *index.keys})  # 0, although an edit list may have cut its keyframe
    ends = [*starts[1:], len(kept) - 1]
    doubtful = {bisect.bisect_right(starts, number) - 1 for number in _gaps(index.shown)} | _long(starts, ends)
    index.doubtful = [(starts[span], ends[span]) for span in sorted(doubtful)]


def _gaps(shown: Sequence[int]) -> list[int]:
    """Numbers of the pictures after which the next is unusually late or early."""
    steps = [later - earlier for earlier, later in pairwise(shown)]
    usual = statistics.median(steps) if steps else 0
    low, high = (share * usual for share in INTERVAL)
    return [number for number, step in enumerate(steps) if not low <= step <= high]


def _long(starts: list[int], ends: list[int]) -> set[int]:
    """Which spans have unusually many pictures."""
    lengths = [end - start for start, end in zip(starts, ends, strict=True)]
    usual = statistics.median(lengths)
    return {span for span, length in enumerate(lengths) if length >= LONG * usual > 0}
