"""Finds the meaning of the columns of a track file: by its header, by known formats, or by the user's names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

NAMED = "frame,id,x,y,w,h,confidence"
# Column names in lower case, without punctuation and a leading bbox, bb or box. A name of an earlier group wins.
NAMES = {
    "frame": ("frame frameid framenumber framenum frameno framenr frameindex frameidx",),
    "id": ("trackid trackerid targetid objectid objid tid track", "id"),
    "left": ("x left x1 xmin minx xtl tlx xleft",),
    "top": ("y top y1 ymin miny ytl tly ytop",),
    "right": ("right x2 xmax maxx xbr brx xright",),
    "bottom": ("bottom y2 ymax maxy ybr bry ybottom",),
    "width": ("w width",),
    "height": ("h height",),
    "cx": ("cx xc xcenter centerx xcentre centrex",),
    "cy": ("cy yc ycenter centery ycentre centrey",),
    "confidence": ("confidence conf score",),
    "class": ("classid class cls category categoryid objectcategory label type objecttype", "classname"),
    "camera": ("camera cameraid camid cam",),
}
BOXES = (("left", "top", "width", "height"), ("left", "top", "right", "bottom"), ("cx", "cy", "width", "height"))
_PLAIN = ("frame", "id", "left", "top", "width", "height", "confidence", "class")


@dataclass(frozen=True)
class Columns:
    """The positions of the values in a line.

    `at` has the column of each meaning, `box` the four columns of a box, `first_index` the number of a video's first
    frame in this format.
    """

    at: dict[str, int]
    box: tuple[str, str, str, str] = BOXES[0]
    first_index: int = 1

    @property
    def needed(self) -> list[int]:
        return [self.at[name] for name in ("frame", "id", *self.box)]


def named_columns(cells: Sequence[str]) -> Columns | str:
    """The columns by their names, or a text that says what is missing or ambiguous.

    >>> named_columns(["frame", "track_id", "x1", "y1", "x2", "y2"]).box
    ('left', 'top', 'right', 'bottom')
    """
    keys = [_key(cell) for cell in cells]
    at: dict[str, int] = {}
    for meaning, ranks in NAMES.items():
        for names in ranks:
            found = [i for i, key in enumerate(keys) if key in names.split()]
            if len(found) > 1:
                return f"two columns for the {meaning}: {', '.join(cells[i].strip() for i in found)}"
            if found:
                at[meaning] = found[0]
                break
    absent = [name for name in ("frame", "id") if name not in at]
    boxes = [box for box in (BOXES[1], BOXES[0], BOXES[2]) if all(name in at for name in box)]
    if absent or not boxes:
        what = absent + ([] if boxes else ["box (x,y,w,h or x1,y1,x2,y2)"])
        hint = ""
        if "frame" in absent:
            hint = '; supervision\'s CSVSink writes it with append(detections, custom_data={"frame_index": i})'
        return f"no column for the {' and the '.join(what)} in {','.join(cells)[:120]!r}{hint}"
    index = keys[at["frame"]] in ("frameindex", "frameidx")  # an index counts from 0
    return Columns(at, boxes[0], 0 if index else 1)


def unnamed_columns(rows: Sequence[Sequence[str]]) -> Columns | str:
    """The columns of a file without a header (MOT, VisDrone, KITTI or AI City), or why they are ambiguous."""
    width, _ = Counter(map(len, rows)).most_common(1)[0]
    same = [row for row in rows if len(row) == width]
    if width in (17, 18) and not any(_is_number(row[2]) for row in same):  # KITTI: frame, id, type, 3 more, corners
        at = {"frame": 0, "id": 1, "class": 2, "left": 6, "top": 7, "right": 8, "bottom": 9}
        return Columns(at | ({"confidence": 17} if width == 18 else {}), BOXES[1], 0)
    at = {name: i for i, name in enumerate(_PLAIN[:7]) if i < width or i < 6}
    if width == 9 and any(_is_number(row[6]) and float(row[6]) > 1 for row in same):
        return _ai_city(same)
    if width in (8, 9, 10) and _has_classes(same, width):
        at["class"] = 7
    return Columns(at)


def _ai_city(rows: Sequence[Sequence[str]]) -> Columns | str:
    """Nine columns, the seventh above 1: a confidence in per cent, or AI City's camera,id,frame,x,y,w,h,...

    If a track is in one frame twice, it is not MOT; anything else could be either.
    """
    pairs, triples = {tuple(row[:2]) for row in rows}, {tuple(row[:3]) for row in rows}
    if len(pairs) < len(rows) == len(triples):
        return Columns({"camera": 0, "id": 1, "frame": 2, "left": 3, "top": 4, "width": 5, "height": 6})
    return (
        "nine columns, and the seventh is above 1: it could be MOT's confidence or AI City's height; pass "
        'columns="frame,id,x,y,w,h,confidence" or columns="camera,id,frame,x,y,w,h"'
    )


def _has_classes(rows: Sequence[Sequence[str]], width: int) -> bool:
    """Whether column 8 is the class; of ten columns the last three may be world coordinates, or all -1."""
    values = [{row[i] for row in rows} for i in range(7, width)]
    if not all(re.fullmatch(r"-?[0-9]+(\.0*)?", text) for text in values[0]) or _whole(values[0]) == {-1}:
        return False
    if width < 10:
        return True
    visdrone = all(re.fullmatch(r"-1|[012]", text) for column in values[1:] for text in column)
    return visdrone and _whole(values[0]) <= set(range(-1, 100))


def _whole(texts: set[str]) -> set[int]:
    return {int(text.partition(".")[0]) for text in texts}


def _key(name: str) -> str:
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(boundingbox|bbox|bb|box)", "", key) or key


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
