"""Pictures: ranked matches, part attentions, figures of several runs. numpy and Pillow, no plotting library."""

from stmga.visualize.attention import part_overlay
from stmga.visualize.canvas import stack
from stmga.visualize.curves import Curve, Panel, curves_picture
from stmga.visualize.ranked import RIGHT, UNKNOWN, WRONG, Card, compared_picture, ranked_picture, verdict

__all__ = [
    "RIGHT",
    "UNKNOWN",
    "WRONG",
    "Card",
    "Curve",
    "Panel",
    "compared_picture",
    "curves_picture",
    "part_overlay",
    "ranked_picture",
    "stack",
    "verdict",
]
