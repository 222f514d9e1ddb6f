"""The blocks of ST-MGA, one per file. Each is an ``nn.Module`` that also works alone in another network."""

from stmga.blocks.cpa import CPA, CPASupervision
from stmga.blocks.lsta import LSTA
from stmga.blocks.mapa import MAPA
from stmga.blocks.mga import MGA
from stmga.blocks.stripes import Stripes

__all__ = ["CPA", "LSTA", "MAPA", "MGA", "CPASupervision", "Stripes"]
