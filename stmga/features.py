"""What a network computes from a batch of clips, by the names of the paper."""

from dataclasses import dataclass

from torch import Tensor

from stmga.blocks import CPASupervision
from stmga.blocks.ops import shapes


@dataclass
class Features:
    """Everything the paper names for a batch of clips; None where the configuration does not have it."""

    map: Tensor  # (b t c h w) F, the trunk's last map
    z_f: Tensor  # (b c) Z^F, its average over frames and positions
    cpa: CPASupervision | None = None  # a^n, a^g, its residual, P_g, P_n: what the losses of CPA need
    part_attention: Tensor | None = None  # (b t n h w) A, the attentions of all n = sum(part_scales) parts, in order
    parts: Tensor | None = None  # (b n t c) part features of each frame (eq. 6)
    temporal_parts: Tensor | None = None  # (b n s t c) the same at each temporal extent, after LS-TA
    part_vectors: Tensor | None = None  # (b n c) u, one vector a part, after T-MGA or the mean over time
    z_t: Tensor | None = None  # (b c) Z^T
    z_c: Tensor | None = None  # (b c) Z^C

    def __repr__(self) -> str:
        return f"Features({shapes(vars(self))})"

    @property
    def final(self) -> Tensor:
        """(b c), the feature used in tests: Z^C, or the last one that the configuration has."""
        return self.z_c if self.z_c is not None else self.z_t if self.z_t is not None else self.z_f
