"""How long does a browser take to open the report of ten thousand tracklets, and how long does writing it take?

Vectors of made-up persons, pictures of rendered walkers. Each repeat is a new headless Chromium with an empty cache
that opens the page from disk: the time from the start of the navigation to the end of the load event, with all rows
that the window shows drawn. Console errors and requests to anything but the folder are counted.

    python -m benchmarks.speed.report_page
    python -m benchmarks.speed.report_page --tracklets 100000 --json report_page.json
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from benchmarks.turns import where
from stmga import Embeddings, link
from stmga.data.walkers.render import render_tracklet
from stmga.report import write_report
from tests.support.chromium import Chromium
from tests.support.vectors import people

WALKERS, CAMERAS = 64, 6
BAR = 2.0  # seconds
OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd / 1000"
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0].startTime / 1000"


def main() -> None:
    args = parse()
    with tempfile.TemporaryDirectory() as root:
        embeddings = embeddings_of(args.tracklets, Path(root))
        identities = link(embeddings, threshold=0.75)
        start = time.perf_counter()
        report = write_report(identities, embeddings, Path(root) / "people")
        wrote = time.perf_counter() - start
        start = time.perf_counter()
        write_report(identities, embeddings, Path(root) / "people")
        again = time.perf_counter() - start
        runs = [opened(report.path, Path(root) / f"profile{k}", args.size) for k in range(args.repeats)]
        size = report.path.stat().st_size
    found = {
        "settings": {"tracklets": args.tracklets, "identities": len(identities), "size": args.size},
        "where": where(),
        "seconds_to_open": sorted(run["opened"] for run in runs),
        "seconds_to_first_paint": sorted(run["painted"] for run in runs),
        "rows_in_page": runs[0]["rows"],
        "errors": sum(run["errors"] for run in runs),
        "foreign_requests": sum(run["foreign"] for run in runs),
        "seconds_to_write": wrote,
        "seconds_to_write_again": again,
        "page_mb": size / 1e6,
    }
    median, worst = statistics.median(found["seconds_to_open"]), found["seconds_to_open"][-1]
    print(f"{args.tracklets:,} tracklets, {len(identities):,} identities, {args.size[0]} x {args.size[1]}: opened in "
          f"{median:.2f} s (at most {worst:.2f} of {args.repeats}; bar {BAR:g} s), "
          f"{found['errors']} console errors, {found['foreign_requests']} requests to others, "
          f"{found['rows_in_page']} rows in the page of {size / 1e6:.1f} MB; written in {wrote:.1f} s, "
          f"again in {again:.1f} s")  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(found, indent=2) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tracklets", type=int, default=10_000)
    parser.add_argument("--size", type=int, nargs=2, default=(1280, 900), metavar=("W", "H"), help="of the window")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the numbers here too")
    return parser.parse_args()


def embeddings_of(count: int, root: Path) -> Embeddings:
    """Vectors around one centre for every four tracklets, each with the picture of a walker."""
    for walker in range(WALKERS):
        Image.fromarray(render_tracklet(walker, 0, frames=1)[0]).save(root / f"{walker}.png")
    items: list[dict[str, Any]] = [
        {
            "tracklet": f"cam{i % CAMERAS}-{i}",
            "camera": f"cam{i % CAMERAS}",
            "video": f"cam{i % CAMERAS}.mp4",
            "start": 20 * i,
            "end": 20 * i + 200 + i % 700,
            "cover": {"file": str(root / f"{i // 4 % WALKERS}.png")},
        }
        for i in range(count)
    ]
    return Embeddings(people(count, c=64, each=4, noise=0.35), items, digest="made up", model="made up")


def opened(page: Path, profile: Path, size: tuple[int, int]) -> dict[str, Any]:
    browser = Chromium(profile)
    try:
        browser.size(*size)
        browser.open(page.as_uri())
        browser.until("performance.getEntriesByName('first-contentful-paint').length > 0")
        rows = browser.value("document.querySelectorAll('.row').length")
        assert rows, "the page shows no row"
        foreign = [address for address in browser.requests if not address.startswith("file:")]
        return {
            "opened": browser.value(OPENED), "painted": browser.value(PAINTED), "rows": rows,
            "errors": len(browser.errors), "foreign": len(foreign),
        }  # fmt: skip
    finally:
        browser.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
