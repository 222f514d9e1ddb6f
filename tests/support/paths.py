"""Where the project is, and the shared data, which is not part of it."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("STMGA_SHARED") or ROOT.parent / "shared")  # tests that need it skip without it
DATA = SHARED / "data"
