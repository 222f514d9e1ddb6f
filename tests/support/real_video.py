"""The real video of ../shared and its true list; tests that need it skip where it is absent."""

import re

from tests.support.paths import DATA

FOLDER = DATA / "video"
VIDEO = FOLDER / "one-by-one-person-detection.mp4"


def truth():
    """The stays `{person: (first, last)}` and the boxes `{frame: (person, [x, y, w, h])}` of the video's README."""
    stays, boxes = {}, {}
    for row in (FOLDER / "README.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if len(cells) == 3 and (stay := re.fullmatch(r"(\d+) - (\d+)", cells[1])):
            stays[int(cells[0])] = int(stay[1]), int(stay[2])
        elif len(cells) == 2 and cells[0].isdecimal():
            for item in cells[1].split(";"):
                frame, _, numbers = item.partition(":")
                boxes[int(frame)] = int(cells[0]), [float(number) for number in numbers.split(",")]
    return stays, boxes
