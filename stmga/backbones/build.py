"""The trunk of a configuration: a ResNet, a network of timm, or a module that the user gives."""

from torch import nn

from stmga.backbones.module_trunk import ModuleTrunk
from stmga.backbones.resnet import build_resnet
from stmga.backbones.staged import Trunk
from stmga.backbones.timm_trunk import TimmTrunk
from stmga.config import CUSTOM, TIMM, STMGAConfig

NO_MODULE = (
    'backbone="custom" is a module of the user\'s own: give it, as STMGA(config, backbone=module) or '
    "STMGA.from_pretrained(folder, backbone=module)"
)


def build_backbone(name: str, stage: str, size: tuple[int, int] = (256, 128)) -> Trunk | ModuleTrunk:
    """An untrained trunk by its name in a configuration: (b 3 h w) -> (b c h/16 w/16).

    Args:
        name: a ResNet, such as ``"resnet50"`` or ``"resnet50_ibn"``, or ``"timm:NAME"``.
        stage: ``"c5"`` whole, without the last stride; ``"c4"`` up to the first map of 1/16 of the frame.
        size: height and width of the frames, which position embeddings of vision transformers are made for.

    Raises:
        ValueError: a network of timm that does not exist, or gives no such map.
        ImportError: ``timm:`` without timm.
    """
    if name == CUSTOM:
        raise ValueError(NO_MODULE)
    return TimmTrunk(name.removeprefix(TIMM), stage, size) if name.startswith(TIMM) else build_resnet(name, stage)


def build_trunk(config: STMGAConfig, module: nn.Module | None = None, dim: int | None = None) -> Trunk | ModuleTrunk:
    """The trunk of a configuration, or a user's module as one; ``dim`` says the channels of the module's map."""
    if isinstance(module, str):
        raise TypeError(f"backbone is a module; a name goes into the configuration: STMGAConfig(backbone={module!r})")
    if module is not None:
        return ModuleTrunk(module, config.size, dim)
    if dim is not None:
        raise ValueError(f"dim is for a module given as backbone; {config.backbone} has channels of its own")
    return build_backbone(config.backbone, config.stage, config.size)


def backbone_dim(trunk: Trunk | ModuleTrunk) -> int:
    """Channels of the trunk's map."""
    return trunk.dim
