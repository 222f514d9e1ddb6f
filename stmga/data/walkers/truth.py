"""The truth of a filmed scene: a MOT file per camera, and the tracklets in which each person is seen well enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from stmga.data.walkers.filming import Sighting
from stmga.tracklets.track_writer import track_line
from stmga.tracklets.tracklet import Frame, Tracklet

START = 1_767_258_000.0  # when all cameras start: 2026-01-01 09:00:00 UTC
SEEN = 0.5  # least share of a person that is seen in a frame of a tracklet
LOST = 1.0  # seconds: a person who is not seen for longer begins another tracklet


def mot_line(seen: Sighting) -> str:
    """`frame,id,x,y,w,h,1,1,visibility`: frames from 1, and the person's number as id."""
    return track_line(seen.frame, seen.person, (seen.x, seen.y, seen.w, seen.h), 1, 1, round(seen.visible, 3))


def read_sightings(file: Path) -> Iterator[Sighting]:
    """The lines that `mot_line` wrote."""
    with file.open(encoding="ascii") as lines:
        for line in lines:
            cells = line.split(",")
            frame, person, x, y, w, h = map(int, cells[:6])
            yield Sighting(frame - 1, person, x, y, w, h, float(cells[8]))


def tracklets_of(sightings: Iterable[Sighting], video: Path, fps: int) -> Iterator[Tracklet]:
    """The tracklets of one camera, in the order in which they end; numbered in the order in which they begin.

    Frames in which less than `SEEN` of the person is seen are left out.
    """
    camera, count = video.stem, 0
    open_: dict[int, tuple[int, list[Sighting]]] = {}  # by person: number and frames

    def ended(frame: float) -> Iterator[Tracklet]:
        for person, (number, seen) in list(open_.items()):
            if frame - seen[-1].frame > LOST * fps:
                yield _tracklet(f"{camera}-{number}", seen, video, fps)
                del open_[person]

    for one in sightings:
        if one.visible < SEEN:
            continue
        yield from ended(one.frame)
        if one.person not in open_:
            count += 1
            open_[one.person] = count, []
        open_[one.person][1].append(one)
    yield from ended(float("inf"))


def _tracklet(name: str, seen: list[Sighting], video: Path, fps: int) -> Tracklet:
    first, last = (START + seen[i].frame / fps for i in (0, -1))
    frames = [Frame(video, (one.x, one.y, one.w, one.h), one.frame) for one in seen]
    return Tracklet(name, frames, seen[0].person, video.stem, first, {"end_time": last})
