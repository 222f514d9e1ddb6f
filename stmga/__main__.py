"""`python -m stmga` is the command `stmga`."""

import sys

from stmga.cli import main

sys.exit(main())
