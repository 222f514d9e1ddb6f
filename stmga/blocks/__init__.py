"""The blocks of ST-MGA, one a file: each an ``nn.Module`` that works alone in somebody else's network."""

from stmga.blocks.cpa import CPA, CPASupervision
from stmga.blocks.lsta import LSTA
from stmga.blocks.mapa import MAPA
from stmga.blocks.mga import MGA
from stmga.blocks.stripes import Stripes

__all__ = ["CPA", "LSTA", "MAPA", "MGA", "CPASupervision", "Stripes"]
