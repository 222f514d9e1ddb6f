"""STMGAConfig: everything needed to rebuild a network, as plain data, and the named configurations."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from stmga._version import __version__
from stmga.utils.foreign import shown
from stmga.utils.settings import Settings, hints
from stmga.utils.text import did_you_mean

IBN = "_ibn"  # ends the names of ResNets with instance and batch norms
TIMM = "timm:"  # begins the names of timm's networks
CUSTOM = "custom"  # a module of the user's own
RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
BACKBONES = (*RESNETS, *(f"{name}{IBN}" for name in RESNETS))
TIMM_NAME = re.compile(rf"{TIMM}\w{{1,80}}(\.\w{{1,80}})?", re.ASCII)  # a network of timm, with or without a tag
CHOICES = {
    "stage": ("c5", "c4"),
    "parts": ("cpa", "stripes", "none"),
    "attend": ("residual", "scaled", "mask"),
    "temporal_conv": ("full", "depthwise"),
    "order": ("ts", "st"),
}
# Least and greatest value of every number; integers have integer bounds. A configuration may come from a stranger,
# and a network with the greatest values must still fit into memory.
BOUNDS: dict[str, tuple[float, float]] = {
    "part_scales": (1, 64), "temporal_scales": (1, 63), "relation_dim": (1, 8192), "gamma": (1, 4096), "eta": (1, 4096),
    "clip_length": (1, 1024), "size": (16, 2048), "tau": (1e-4, 1e4), "mean": (0.0, 1.0), "std": (1e-3, 1.0),
}  # fmt: skip
SCALES = 8  # at most, of parts and of time
CLIP_PIXELS = 1 << 25  # at most, height x width x frames: 1,024 frames of 256 x 128


@dataclass(frozen=True, kw_only=True)
class STMGAConfig(Settings):
    """A network as plain data: :meth:`to_dict` and :meth:`from_dict` go through JSON.

    Attributes:
        backbone: the trunk: a ResNet of torchvision (``"resnet50"``) or its IBN-a variant (``"resnet50_ibn"``), a
            network of timm (``"timm:convnext_tiny"``), or ``"custom"``, a module of the user's own.
        stage: where the trunk ends: ``"c5"`` whole, last stride 1; ``"c4"`` after layer3. Both reduce by 16. In timm,
            ``"c4"`` is the map of stride 16, and a vision transformer ends after its last block either way.
        parts: ``"cpa"`` part attention, ``"stripes"`` horizontal bands, ``"none"`` one part, the whole frame.
        attend: how part attention meets the map; ``"residual"`` is the paper's, the others are in :class:`MAPA`.
        part_scales: number of parts in each spatial scale; ``(1,)`` without parts.
        temporal_scales: temporal extents of LS-TA in frames, ``()`` for no LS-TA.
        temporal_conv: ``"full"`` or ``"depthwise"`` temporal operator.
        relation_dim: width of the relation layers of MGA; None is the width of the trunk.
        t_mga, s_mga: aggregate over time, over parts.
        partwise, scalewise: the two halves of MGA (Table 7).
        order: ``"ts"`` T-MGA then S-MGA, ``"st"`` the other way round (Table 8).
        tau: temperature of the softmaxes of MGA.
        gamma, eta: shrink ratios: attention heads and frame gate; scale attention.
        whitening: a fixed linear layer after the BN neck, which :func:`stmga.train.whiten` solves (not in the paper).
        clip_length: frames in a clip. size: height and width of a frame in pixels. mean, std: of RGB in 0..1.

    Raises:
        ValueError: values of a wrong type, outside their choices or bounds, or that contradict each other, all in one
            message.

    Example:
        >>> STMGAConfig.from_dict(STMGAConfig(backbone="resnet18").to_dict()).backbone
        'resnet18'
    """

    CHOICES: ClassVar = CHOICES

    backbone: str = "resnet50"
    stage: str = "c5"
    parts: str = "cpa"
    attend: str = "residual"
    part_scales: tuple[int, ...] = (1, 2, 4)
    temporal_scales: tuple[int, ...] = (1, 3, 5)
    temporal_conv: str = "full"
    relation_dim: int | None = None
    t_mga: bool = True
    s_mga: bool = True
    partwise: bool = True
    scalewise: bool = True
    order: str = "ts"
    tau: float = 0.05
    gamma: int = 16
    eta: int = 4
    whitening: bool = False
    clip_length: int = 8
    size: tuple[int, int] = (256, 128)
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def _faults(self) -> Iterable[str]:
        if self.backbone not in (*BACKBONES, CUSTOM) and not TIMM_NAME.fullmatch(self.backbone):
            yield self.must("backbone", f"be one of {', '.join(map(repr, BACKBONES))}, '{TIMM}NAME' or '{CUSTOM}'")
        yield from _out_of_bounds(self)
        finest = max(self.part_scales, default=0)
        if not self.part_scales or any(s < 1 or finest % s for s in self.part_scales):
            yield self.must("part_scales", "be part counts that all divide the largest, as [1, 2, 4]")
        if any(k < 1 or k % 2 == 0 for k in self.temporal_scales):
            yield self.must("temporal_scales", "be odd numbers of frames, as [1, 3, 5]")
        if self.parts == "none" and (self.part_scales != (1,) or self.s_mga):
            yield 'parts="none" is one part: it goes with part_scales=(1,) and s_mga=False'
        if self.parts != "none" and not (self.s_mga or self.t_mga):
            yield f'parts={self.parts!r} without s_mga or t_mga would never be used; take parts="none"'
        if self.t_mga and not self.temporal_scales:
            yield "t_mga aggregates the temporal scales, and temporal_scales is empty"
        if self.temporal_scales and not self.t_mga:
            yield "temporal_scales without t_mga would never be used; take temporal_scales=()"
        if self.order == "st" and not (self.s_mga and self.t_mga):
            yield 'order="st" needs both s_mga and t_mga'

    @property
    def n_parts(self) -> int:
        """Number of parts over all scales (N_p)."""
        return sum(self.part_scales)

    @property
    def clip_shape(self) -> str:
        """The clips that it takes as frames x height x width: ``"8 x 256 x 128"``."""
        return " x ".join(map(str, (self.clip_length, *self.size)))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, written_by: str | None = None) -> "STMGAConfig":
        """Rebuild from :meth:`to_dict`; ``written_by`` is the stmga version that wrote it, for the error.

        Raises:
            ValueError: keys that this version does not know, or wrong values.
        """
        unknown = sorted(set(data) - set(hints(cls)))
        if unknown and written_by is not None:
            raise ValueError(
                f"the configuration has keys that stmga {__version__} does not know: {', '.join(unknown)}. "
                f"It was written by stmga {written_by}: install that version or a newer one"
            )
        return super().from_dict(data)


def _out_of_bounds(config: STMGAConfig) -> Iterable[str]:
    """Every setting outside :data:`BOUNDS`, as text; all are of their types."""
    for name, (least, most) in BOUNDS.items():
        value = getattr(config, name)
        every = value if isinstance(value, tuple) else () if value is None else (value,)
        if len(every) > SCALES:
            yield f"{name} must have at most {SCALES} values, got {len(every):,}"
        elif not all(least <= v <= most for v in every):
            got = shown(list(every) if isinstance(value, tuple) else value)
            yield f"{name} must be from {least:g} to {most:g}, got {got}"
    if (pixels := config.clip_length * config.size[0] * config.size[1]) > CLIP_PIXELS:
        what = f"a clip of {config.clip_shape} has {pixels:,} pixels"
        yield f"{what}, at most {CLIP_PIXELS:,} are allowed; reduce size or clip_length"


LIGHT: dict[str, Any] = {"temporal_conv": "depthwise", "relation_dim": 128}
PLAIN: dict[str, Any] = {
    "parts": "none", "part_scales": (1,), "temporal_scales": (), "t_mga": False, "s_mga": False,
}  # fmt: skip

ARCHITECTURES: dict[str, STMGAConfig] = {
    "stmga_resnet50": STMGAConfig(),
    "stmga_resnet50_light": STMGAConfig(**LIGHT),
    "stmga_resnet50_c4": STMGAConfig(stage="c4", **LIGHT),
    "stmga_resnet18_c4": STMGAConfig(backbone="resnet18", stage="c4"),
    # The same trunks with only average pooling and a BN neck: the baselines of the method.
    "stmga_resnet50_c4_baseline": STMGAConfig(stage="c4", **PLAIN),
    "stmga_resnet18_c4_baseline": STMGAConfig(backbone="resnet18", stage="c4", **PLAIN),
}

_BASELINE = STMGAConfig(**PLAIN)
_FULL = STMGAConfig()
_SPATIAL = replace(_FULL, temporal_scales=(), t_mga=False)

# Every row of Tables 4-8. Rows 2-4 of Table 4 are one network: they differ in the losses of CPA and in the initial
# attention of its parts, which belong to training.
PAPER_CONFIGS: dict[str, STMGAConfig] = {
    "table4/baseline": _BASELINE,
    "table4/no-loss": _SPATIAL,
    "table4/pce": _SPATIAL,
    "table4/pce+pa": _SPATIAL,
    "table4/pce+pa+res": _SPATIAL,
    "table5/baseline": _BASELINE,
    "table5/part-4": replace(_SPATIAL, parts="stripes"),
    "table5/part-8": replace(_SPATIAL, parts="stripes", part_scales=(1, 2, 4, 8)),
    "table5/cpa-2": replace(_SPATIAL, part_scales=(1, 2)),
    "table5/cpa-4": _SPATIAL,
    "table5/cpa-8": replace(_SPATIAL, part_scales=(1, 2, 4, 8)),
    "table6/baseline": _BASELINE,
    "table6/1,2/1": replace(_SPATIAL, part_scales=(1, 2)),
    "table6/1,2,4/1": _SPATIAL,
    "table6/1,2,4,8/1": replace(_SPATIAL, part_scales=(1, 2, 4, 8)),
    "table6/1,2,4/1,3": replace(_FULL, temporal_scales=(1, 3)),
    "table6/1,2,4/1,3,5": _FULL,
    "table6/1,2,4,8/1,3": replace(_FULL, part_scales=(1, 2, 4, 8), temporal_scales=(1, 3)),
    "table6/1,2,4,8/1,3,5": replace(_FULL, part_scales=(1, 2, 4, 8)),
    "table7/neither": replace(_FULL, partwise=False, scalewise=False),
    "table7/part": replace(_FULL, scalewise=False),
    "table7/scale": replace(_FULL, partwise=False),
    "table7/part+scale": _FULL,
    "table8/baseline": _BASELINE,
    "table8/p-mga": replace(_SPATIAL, parts="stripes"),
    "table8/s-mga": _SPATIAL,
    "table8/t-mga": replace(_FULL, parts="none", part_scales=(1,), s_mga=False),
    "table8/t-mga,p-mga": replace(_FULL, parts="stripes"),
    "table8/s-mga,t-mga": replace(_FULL, order="st"),
    "table8/t-mga,s-mga": _FULL,
}


def paper_config(name: str) -> STMGAConfig:
    """The network of a row of the paper's Tables 4-8, such as ``"table8/s-mga"``; ``PAPER_CONFIGS`` lists them.

    For another trunk: ``dataclasses.replace(paper_config(name), backbone="resnet18", stage="c4")``.

    Raises:
        ValueError: no such row; the message names the closest one.
    """
    if name not in PAPER_CONFIGS:
        near = did_you_mean(name, PAPER_CONFIGS) or "stmga.PAPER_CONFIGS lists them"
        raise ValueError(f"no row of the paper is called {name!r}; {near}")
    return PAPER_CONFIGS[name]
