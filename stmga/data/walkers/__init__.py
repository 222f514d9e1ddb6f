"""Rendered people: a benchmark without photographs, and pixels whose labels are known."""
