"""What the tests of reports share: tracklets of rendered walkers with made-up vectors, and the data of a page."""

import json
import re

from PIL import Image

from stmga import Embeddings
from stmga.calibration import Calibration, Threshold
from stmga.data.walkers.render import render_tracklet
from stmga.tracklets.tracklet import Frame, Tracklet
from tests.support.vectors import people

HOSTILE = (
    "</script><script>alert(1)</script><!--",
    '"><img src=x onerror=alert(1)>',
    "../../etc/passwd",
    "\udcff\u2028&amp;",
    "x" * 300,
)


def calibration(lower=0.3):
    point = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.5)
    return Calibration(
        thresholds=(point,), lower=lower, impostor_pairs=9000, genuine_pairs=90, persons=40, digest="1f0c"
    )


def tracklets_of(folder, n=12, frames=6):
    """Tracklets of rendered walkers on disk, three of each of them by two cameras."""
    found = []
    for i in range(n):
        files = []
        for k, pixels in enumerate(render_tracklet(i // 3, i % 2, frames=frames, size=(64, 32))):
            file = folder / f"t{i}" / f"{k}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(file)
            files.append(Frame(file))
        found.append(Tracklet(f"t{i}", files, camera=f"cam{i % 2}"))
    return found


def embeddings_of(tracklets, noise=0.3, **columns):
    items = [tracklet.row() for tracklet in tracklets]
    for name, values in columns.items():
        for item, value in zip(items, values, strict=True):
            item[name] = value
    return Embeddings(people(len(items), each=3, noise=noise), items, digest="1f0c", calibration=calibration())


def data_in(page):
    return json.loads(re.search(r'id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)[1])
