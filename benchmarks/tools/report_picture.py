"""Makes docs/report.png: the report of rendered walkers, as a browser shows it. Needs Chromium and `websocket-client`.

python -m benchmarks.tools.report_picture docs/report.png
"""

from __future__ import annotations

import argparse
import random
import tempfile
from pathlib import Path

from PIL import Image

from stmga import TrackletEmbedder, create_model, link
from stmga.data.walkers.render import render_tracklet
from stmga.report import write_report
from stmga.tracklets.tracklet import Frame, Tracklet
from tests.support.chromium import Chromium

CAMERAS = ("door", "hall", "stairs", "yard")
NOON = 1_790_078_400.0  # 2026-09-22 12:00 UTC
COLOURS = 128  # of the PNG file, to keep it small


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--persons", type=int, default=12)
    parser.add_argument("--size", type=int, nargs=2, default=(1120, 760), metavar=("W", "H"))
    parser.add_argument("--detail", action="store_true", help="of the first identity, opened")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        tracklets = tracklets_of(Path(root), args.persons)
        embeddings = TrackletEmbedder(create_model("stmga_resnet18_c4", pretrained=True))(tracklets)
        page = write_report(
            link(embeddings, false_match_rate=1e-4), embeddings, Path(root) / "people", tracklets=tracklets
        ).path
        browser = Chromium(Path(root) / "profile")
        try:
            browser.call("Emulation.setTimezoneOverride", timezoneId="UTC")
            browser.size(*args.size)
            browser.open(page.as_uri() + ("#identity-1" if args.detail else ""))
            browser.until("[...document.images].slice(0, 30).every((image) => image.complete)")
            browser.picture(args.out)
        finally:
            browser.close()
    with Image.open(args.out) as image:
        image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(args.out, optimize=True)
    print(f"{args.out}: {args.out.stat().st_size / 1e3:.0f} kB, {len(embeddings)} tracklets")


def tracklets_of(root: Path, persons: int) -> list[Tracklet]:
    """Walkers who pass by one camera after the other, once or twice."""
    chance = random.Random(4)
    found = []
    for person in range(persons):
        time = NOON + 60 * person
        for visit in range(chance.randint(3, 7)):
            camera = chance.randrange(len(CAMERAS))
            files = []
            for k, pixels in enumerate(render_tracklet(person, camera, tracklet=visit, frames=8, size=(256, 128))):
                files.append(root / f"{person}-{visit}-{k}.jpg")
                Image.fromarray(pixels).save(files[-1], quality=95)
            name = f"{CAMERAS[camera]}-{person * 10 + visit}"
            times = {"end_time": time + chance.uniform(8, 25)}
            found.append(Tracklet(name, list(map(Frame, files)), camera=CAMERAS[camera], time=time, extra=times))
            time += chance.uniform(40, 160)
    chance.shuffle(found)
    return found


if __name__ == "__main__":
    main()
