"""Fuzzing of what names frames: manifests, and track files of MOT and its relatives."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.manifest import write_manifest
from stmga.tracklets.mot import read_mot
from stmga.tracklets.readers import read_tracklets
from stmga.tracklets.tracklet import Tracklet, TrackletError
from tests.support.fuzz.formats import Example, Format
from tests.support.fuzz.mutations import changed_bytes, changed_json
from tests.support.tracklets import noise

BOX = [2, 3.5, 20, 40]


def load_all(found: list[Tracklet]) -> None:
    """What no check decodes beforehand, as the contents of a span, may still be refused."""
    for tracklet in found:
        with suppress(TrackletError):
            assert len(tracklet.load()) == len(tracklet)


class Manifest(Format):
    name = "manifest"
    errors = (TrackletError,)
    escapes = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for number in (1, 2):
            noise(folder / f"{number}.png", number)
        data = b"".join((folder / f"{number}.png").read_bytes() for number in (1, 2))
        (folder / "shard.bin").write_bytes(data)
        first = (folder / "1.png").stat().st_size
        spans = [[0, first], [first, len(data) - first]]
        self.rows = [
            {"tracklet": "a", "person": 2, "camera": None, "time": 3, "frames": ["1.png", "2.png"], "note": {"k": [1]}},
            {"tracklet": "b", "camera": "door", "frames": [{"file": "1.png", "box": BOX}, "2.png"], "role": "query"},
            {"tracklet": "c", "person": "7", "time": 2.5, "frames": {"file": "shard.bin", "spans": spans}},
            {"tracklet": "d", "frames": {"file": "shard.bin", "spans": spans, "boxes": [BOX, None]}},
            {"tracklet": "e", "frames": [{"file": "shard.bin", "span": spans[1]}, {"file": "1.png", "index": None}]},
        ]
        self.pool = ["1.png", "shard.bin", "gone.png", BOX, spans, spans[0], {"file": "2.png", "index": 1}]

    def examples(self) -> st.SearchStrategy[Example]:
        lines = st.lists(st.sampled_from(self.rows).flatmap(lambda row: changed_json(row, self.pool)), max_size=3)
        whole = lines.map(lambda found: "\n".join(found).encode("utf-8", "surrogatepass"))
        return st.tuples(st.just("index.jsonl"), whole | whole.flatmap(changed_bytes))

    def read(self, kind: str, data: bytes) -> list[Tracklet]:
        (self.folder / kind).write_bytes(data)
        return read_tracklets(self.folder / kind)

    def use(self, found: Any) -> None:
        """What was read is written, read back the same, identified and loaded."""
        again = self.folder / "again.jsonl"
        write_manifest(found, again)
        back = read_tracklets(again)
        assert [t.frames for t in back] == [t.frames for t in found]
        assert [t.row() for t in back] == [t.row() for t in found]
        assert InputRecord(back).difference(InputRecord(found).to_bytes()) == ""
        load_all(found)


MOT = "\n".join(f"{frame},{track},{3 + track},2.5,12,30,0.9,-1,-1,-1" for frame in (1, 2, 3) for track in (1, 2))
TRUTH = "\n".join(f"{frame},{track},3,2,12,30,1,{track},0.8" for frame in (1, 2, 3) for track in (1, 2))
VISDRONE = "\n".join(f"{frame},{track},3,2,12,30,1,{track},0,0" for frame in (1, 2) for track in (1, 4))
KITTI = "\n".join(
    f"{frame} {track} Pedestrian 0 0 -1.7 3 2 15 32 1.8 0.5 1 0 1 9 0" for frame in (0, 1) for track in (1, 2)
)
CITY = "\n".join(f"1 {track} {frame} 3 2 12 30 -1 -1" for frame in (1, 2) for track in (5, 6))
CSV = "frame,id,x,y,w,h,class\n" + "\n".join(f'{frame},1,3,2,12,30,"person"' for frame in (1, 2))
CORNERS = "frame_index;tracker_id;x_min;y_min;x_max;y_max;confidence\n0;1;3,5;2,0;15,0;32,0;0,9"
WORDS = (
    b"nan", b"inf", b"1e999", b"9" * 60, b"9" * 5000, b"-1", b"0", b"1_0", b"0.5", b",,,", b";", b"\t", b" ", b'"',
    b"#", b"\r\n", b"\n", b"\0", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"18446744073709551615", "²٣".encode(),
    b"None", b"frame,id,x,y,w,h", b"class", b"camera,", b"DontCare", b"x" * 2000, b"\x1b[2J",
)  # fmt: skip


class Tracks(Format):
    name = "tracks"
    errors = (TrackletError,)
    escapes = False

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        for number in (1, 2, 3):
            noise(folder / "frames" / f"{number:06d}.png", number)

    def examples(self) -> st.SearchStrategy[Example]:
        texts = st.sampled_from([MOT, TRUTH, VISDRONE, KITTI, CITY, CSV, CORNERS])
        encoded = st.tuples(texts, st.sampled_from(["utf-8"] * 6 + ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"]))
        data = encoded.map(lambda found: found[0].encode(found[1])).flatmap(lambda d: changed_bytes(d, WORDS))
        return st.tuples(st.sampled_from(["tracks.txt", "tracks.csv"]), data | st.binary(max_size=300))

    def read(self, kind: str, data: bytes) -> list[Tracklet]:
        (self.folder / kind).write_bytes(data)
        return read_mot(self.folder / kind, self.folder / "frames", min_frames=1)

    def use(self, found: Any) -> None:
        write_manifest(found, self.folder / "again.jsonl")
        back = read_tracklets(self.folder / "again.jsonl")
        assert [(t.row(), t.frames) for t in back] == [(t.row(), t.frames) for t in found]
        load_all(found)
