"""Which number a picture of a video has, read from its packets where these prove it; nothing is decoded."""

from __future__ import annotations

import bisect
import functools
import statistics
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

INTERVAL = 0.5, 1.5  # of the usual time between two pictures: what is outside may be a lost picture, or none at all
LONG = 1.5  # times the usual number of pictures between two keyframes: there may have been one between


class VideoError(ValueError):
    """A video, or a frame of it, that cannot be decoded."""


class Packet(NamedTuple):
    """What is looked at of one packet."""

    shown: int | None  # time stamp of its picture
    decoded: int | None  # time stamp by which it is to be decoded
    size: int  # bytes
    key: bool  # whether decoding can start here
    good: bool  # not empty, not flagged as damaged, not all zeros
    cut: bool  # an edit list cuts its picture away


@dataclass
class VideoIndex:
    """The pictures of a video in order of time; or `counted`: only decoding all of them tells which is which.

    `doubtful` has spans, from a keyframe to the next, in which a packet may be missing. Decode them before anything
    behind them is believed: a decoder that has lost a keyframe leaves out pictures whose packets are all there.
    """

    shown: array[int] = field(default_factory=lambda: array("q"))  # time stamps, rising
    sizes: array[int] = field(default_factory=lambda: array("q"))  # bytes of the packets
    keys: list[int] = field(default_factory=list)  # numbers of the keyframes, rising
    doubtful: list[tuple[int, int]] = field(default_factory=list)
    counted: bool = True

    def key_before(self, number: int) -> int | None:
        """The number of the last keyframe up to a picture, if there is one."""
        place = bisect.bisect_right(self.keys, number)
        return self.keys[place - 1] if place else None

    def has(self, stamp: int, size: int) -> bool:
        """Whether the packet of that time stamp has that size: some containers mix stamps up after a seek."""
        place = bisect.bisect_left(self.shown, stamp)
        return place < len(self.shown) and self.shown[place] == stamp and self.sizes[place] == size


@functools.lru_cache(maxsize=64)
def video_index(file: str, changed: int) -> VideoIndex:
    """The index of a file; `changed` only tells a file from its next version."""
    import av

    with av.open(file) as container:
        stream = video_stream(container)
        packets = [_packet(packet) for packet in container.demux(stream) if packet.size or packet.pts is not None]
        delayed = bool(stream.codec_context.has_b_frames)
        timed = container.format.name != "avi"  # whose stamps count packets: they cannot tell that one is missing
    return _index(packets) if _proves_order(packets, delayed, timed) else VideoIndex()


def video_stream(container: Any) -> Any:
    """The video stream of an open file; `VideoError` where there is none that can be decoded."""
    stream = next(iter(container.streams.video), None)
    if stream is None or stream.codec_context is None:
        raise VideoError(f"{container.name} has no video stream" + (" of a known codec" if stream else ""))
    return stream


def _packet(packet: Any) -> Packet:
    good = packet.size > 0 and not packet.is_corrupt and any(memoryview(packet)[:8])
    return Packet(packet.pts, packet.dts, packet.size, packet.is_keyframe, good, packet.is_discard)


def _proves_order(packets: list[Packet], delayed: bool, timed: bool) -> bool:
    """Whether the pictures surely come in the order of their time stamps, one for each packet.

    Not so: recordings joined end to end, whose stamps start again; streams that start between keyframes; stamps that
    the container has made up in the order of decoding, though pictures are shown in another (`delayed`).
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
        and kept[0] == min(kept)  # else there are pictures before it that want what came before the file
        and _rising(packet.decoded for packet in packets if packet.decoded is not None)
        and _rising(keys)
        and (intra or (timed and not (delayed and _rising(shown))))
    )


def _rising(stamps: Iterable[int]) -> bool:
    return all(earlier < later for earlier, later in pairwise(stamps))


def _index(packets: list[Packet]) -> VideoIndex:
    kept = sorted((packet.shown or 0, packet.size, packet.key) for packet in packets if not packet.cut)
    shown, sizes = array("q", [stamp for stamp, *_ in kept]), array("q", [size for _, size, _ in kept])
    keys = [number for number, (*_, key) in enumerate(kept) if key]
    index = VideoIndex(shown, sizes, keys, counted=False)
    ends = [*keys[1:], len(shown) - 1]
    starts = {index.key_before(number) or 0 for number in _gaps(shown)} | _long(keys, ends)
    index.doubtful = [(start, ends[bisect.bisect_left(keys, start)]) for start in sorted(starts)]
    return index


def _gaps(shown: Sequence[int]) -> list[int]:
    """Numbers of the pictures after which the next is unusually late or early."""
    steps = [later - earlier for earlier, later in pairwise(shown)]
    usual = statistics.median(steps) if steps else 0
    low, high = (share * usual for share in INTERVAL)
    return [number for number, step in enumerate(steps) if not low <= step <= high]


def _long(keys: list[int], ends: list[int]) -> set[int]:
    """Keyframes to which the next is unusually far."""
    lengths = [end - key for key, end in zip(keys, ends, strict=True)]
    usual = statistics.median(lengths) if lengths else 0
    return {key for key, length in zip(keys, lengths, strict=True) if length >= LONG * usual}
