"""The `stmga` command: a file for each group of commands; `stmga.cli.main.main` is where it starts."""
