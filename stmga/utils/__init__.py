"""Helpers that do not depend on the rest of stmga: files, text, arrays, processes, CPU settings."""
