"""`python -m stmga` is the command `stmga`."""

import sys

from stmga.cli.main import main

sys.exit(main())
