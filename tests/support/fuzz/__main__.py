"""The long form: ``python -m tests.support.fuzz FORMAT --minutes 10``; the short form is tests/test_fuzz.py.

Prints what was tried, and each fault once with its shortest example. A fault is an exception that the documentation
does not name, an example that takes more than 5 s, and one that needs more than 1 GB of memory.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import platform
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, seed, settings

from tests.support.fuzz.formats import Example, Format
from tests.support.fuzz.record_formats import Records
from tests.support.fuzz.track_formats import Manifest, Tracks
from tests.support.fuzz.vector_formats import EmbeddingsFiles, Index
from tests.support.fuzz.weight_formats import Config, Weights

FORMATS: dict[str, type[Format]] = {
    kind.name: kind for kind in (Manifest, Tracks, Config, Weights, EmbeddingsFiles, Index, Records)
}
SECONDS, GB, BATCH = 5, 1 << 30, 500


class HangError(BaseException):
    """No reader catches it."""


class Tally:
    """What came of the examples, and the faults: for each place in the code its shortest example."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.faults: dict[str, tuple[Example, str]] = {}
        self.slowest = 0.0

    def run(self, form: Format, example: Example) -> None:
        start = time.monotonic()
        signal.alarm(SECONDS)
        faulthandler.dump_traceback_later(4 * SECONDS, exit=True)  # of code that never returns to Python
        try:
            outcome = form.attempt(example)
        except (Exception, HangError) as error:
            outcome = "fault"
            self._keep(example, error)
        finally:
            signal.alarm(0)
            faulthandler.cancel_dump_traceback_later()
        self.slowest = max(self.slowest, time.monotonic() - start)
        self.outcomes[outcome] += 1

    def _keep(self, example: Example, error: BaseException) -> None:
        own = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        place = f"{type(error).__name__} at {' < '.join(own[::-1][:4])}"
        if place not in self.faults or len(example[1]) < len(self.faults[place][0][1]):
            self.faults[place] = example, "".join(traceback.format_exception(error))


def peak() -> int:
    """The most resident memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def limit_memory() -> None:
    """No more than 1 GB beyond what the process has mapped now: a larger allocation is a MemoryError."""
    with open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + GB, resource.RLIM_INFINITY))


def hang(*_: Any) -> None:
    raise HangError(f"more than {SECONDS} s")


def fuzz(form: Format, minutes: float, first: int, tally: Tally) -> int:
    """Try examples until the time is over, in batches of one seed each; the last seed."""
    end, number = time.monotonic() + 60 * minutes, first
    while time.monotonic() < end:

        @seed(number)
        @settings(max_examples=BATCH, deadline=None, database=None, phases=[Phase.generate],
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(form.examples())
        def batch(example: Example) -> None:
            if time.monotonic() < end:
                tally.run(form, example)

        batch()
        number += 1
    return number - 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    torch.set_num_threads(1)
    signal.signal(signal.SIGALRM, hang)
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        form = FORMATS[options.format](Path(folder))
        base = peak()
        limit_memory()
        last = fuzz(form, options.minutes, options.seed, tally)
    for place, (example, text) in tally.faults.items():
        shown = repr(example) if len(example[1]) < 6000 else f"{example[0]}, {len(example[1]):,} bytes"
        print(f"--- {place}\n{shown}\n{text}")
    outcomes = ", ".join(f"{count:,} {name}" for name, count in tally.outcomes.most_common())
    print(
        f"{form.name}: {tally.outcomes.total():,} examples in {options.minutes:g} minutes, "
        f"seeds {options.seed} to {last}: {outcomes}; slowest {tally.slowest:.2f} s; "
        f"peak memory {peak() / 1e6:,.0f} MB, {base / 1e6:,.0f} MB of them before the first example; "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
