"""A tiny network for the tests of commands."""

from stmga import STMGAConfig

TINY = STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=4)
