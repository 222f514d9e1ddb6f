"""The commands that train: train and ablate. Everything heavy is imported when a command runs."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


def add_arguments(commands: Any) -> None:
    """Add these commands to the parser."""


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {}
