"""A tiny network for the tests of commands, and settings that train it in a moment."""

from stmga import STMGAConfig

TINY = STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=4)
SMALL = ["--set", "persons=4", "--set", "clips=2", "--set", "stride=1", "--set", "steps=3", "--epochs", "2", "-q"]
