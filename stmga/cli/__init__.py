"""The ``stmga`` command: a file for each group of commands; it starts in ``stmga.cli.main.main``."""
