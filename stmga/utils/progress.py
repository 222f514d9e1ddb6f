"""The progress bar of everything that takes long."""

from __future__ import annotations

import sys
from typing import Any

IN_A_FILE = 30.0  # seconds between two states of a bar that goes to a file or a pipe, where each is a line


def progress_bar(items: Any = None, *, shown: bool, **about: Any) -> Any:
    """A bar of tqdm on the standard error, over ``items`` or moved by hand; ``about`` goes to tqdm."""
    from tqdm import tqdm

    terminal = sys.stderr is not None and sys.stderr.isatty()
    pace = {} if terminal else {"mininterval": IN_A_FILE, "maxinterval": IN_A_FILE}
    return tqdm(items, disable=not shown, **pace, **about)
