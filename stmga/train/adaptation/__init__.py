"""Adaptation to a site without labels: rounds of embedding, linking, and training on what was linked."""

from stmga.train.adaptation.config import AdaptConfig
from stmga.train.adaptation.loop import Adapted, adapt

__all__ = ["AdaptConfig", "Adapted", "adapt"]
