"""Helpers that know nothing of the rest of stmga: files, text, arrays, processes, CPU settings."""
