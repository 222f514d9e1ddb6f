"""Trunks, from frames to a map of 1/16 of the frame: ResNets, timm's networks, or a module of the user's own."""

from stmga.backbones.build import backbone_dim, build_backbone, build_trunk
from stmga.backbones.dry_run import device_of, map_channels
from stmga.backbones.module_trunk import ModuleTrunk
from stmga.backbones.staged import Trunk
from stmga.backbones.tokens import TokenMap
from stmga.backbones.weights import load_backbone

__all__ = [
    "ModuleTrunk",
    "TokenMap",
    "Trunk",
    "backbone_dim",
    "build_backbone",
    "build_trunk",
    "device_of",
    "load_backbone",
    "map_channels",
]
