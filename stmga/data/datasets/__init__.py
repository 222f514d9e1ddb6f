"""Readers of the official data sets, one file each."""
