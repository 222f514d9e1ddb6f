"""STMGA: the network, read from top to bottom by following one clip (Lee et al., Sensors 2024, 24(7), 2229)."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange, reduce
from torch import Tensor, nn
from torch.nn import functional as F

from stmga.backbones import build_trunk, device_of
from stmga.blocks import CPA, LSTA, MAPA, MGA, Stripes
from stmga.blocks.ops import at_least_float32, check_input
from stmga.checks import check_clips
from stmga.config import CUSTOM, STMGAConfig
from stmga.features import Features
from stmga.fuse import fused, packed
from stmga.hub import WeightRecord, load, push, save
from stmga.hub.state import check_types, with_trunk
from stmga.transforms import ClipTransform
from stmga.utils.arrays import hash_weights
from stmga.utils.modes import evaluating

AUTOCAST = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


class STMGA(nn.Module):
    """(b t 3 h w) -> (b c), clips to embeddings of unit length: the cosine of two is their similarity.

    Building one makes no request and gives random weights; :func:`stmga.create_model` and :meth:`from_pretrained` give
    trained ones. There is no classifier: identities belong to training.

    Args:
        config: the network as data.
        backbone: a trunk of the user's own, frames (n 3 h w) -> map (n c h/16 w/16); its configuration is ``"custom"``.
        dim: channels of this trunk's map; None runs it once to find them.

    Raises:
        TypeError, ValueError: a trunk without such a map; see :func:`stmga.backbones.map_channels`.

    Example:
        >>> model = STMGA(STMGAConfig(backbone="resnet18", stage="c4")).eval()
        >>> model(torch.rand(2, 8, 3, 128, 64)).shape
        torch.Size([2, 256])
    """

    def __init__(self, config: STMGAConfig, backbone: nn.Module | None = None, *, dim: int | None = None) -> None:
        super().__init__()
        self.config = config = config if backbone is None else replace(config, backbone=CUSTOM)
        self.record: WeightRecord | None = None  # set by the loader: where the weights come from
        self.fused_from = ""  # set by `fuse`: the digest of the original network
        self.backbone = build_trunk(config, backbone, dim)
        self.dim = dim = self.backbone.dim
        # CPA finds the finest parts and MA-PA sums them to coarser ones. Stripes are cut at every scale.
        cpa, stripes = config.parts == "cpa", config.parts == "stripes"
        self.cpa = CPA(dim, parts=max(config.part_scales), reduction=config.gamma) if cpa else None
        self.mapa = MAPA(scales=config.part_scales, attend=config.attend) if cpa else None
        self.stripes = Stripes(scales=config.part_scales) if stripes else None
        scales = config.temporal_scales
        self.lsta = (
            LSTA(dim, scales=scales, conv=config.temporal_conv, reduction=config.gamma) if config.t_mga else None
        )
        self.t_mga = self._mga((None,) * len(scales)) if config.t_mga else None
        self.s_mga = self._mga(config.part_scales) if config.s_mga else None
        self.neck = nn.BatchNorm1d(dim)
        # Solved in closed form, so no optimiser changes it: see `stmga.train.whiten`.
        self.whitening = nn.Linear(dim, dim, bias=False).requires_grad_(False) if config.whitening else None
        if self.whitening is not None:
            nn.init.eye_(self.whitening.weight)
        if backbone is not None and torch.get_default_device().type != "meta":
            self.to(device_of(backbone))

    def _mga(self, counts: tuple[int | None, ...]) -> MGA:
        c = self.config
        return MGA(
            self.dim,
            counts=counts,
            relation_dim=c.relation_dim,
            partwise=c.partwise,
            scalewise=c.scalewise,
            tau=c.tau,
            reduction=c.eta,
        )

    @property
    def device(self) -> torch.device:
        """The device of its parameters."""
        return self.neck.weight.device

    @property
    def clip_length(self) -> int:
        """Frames in a clip."""
        return self.config.clip_length

    @property
    def transform(self) -> ClipTransform:
        """The preprocessing that turns frames into clips for this network."""
        return ClipTransform.from_config(self.config)

    def forward(self, clips: Tensor) -> Tensor:
        """(b t 3 h w) -> (b c) of unit length, after the BN neck.

        Raises:
            ValueError: not a batch of RGB clips, an empty one, or frames with NaN or infinity.
            TypeError: no tensor, clips that are not floating point, or of another precision than the network.
        """
        if not torch.compiler.is_compiling():
            check_clips(clips, self.neck.weight.dtype)
        # NaN and infinity show in the minimum or the maximum, which takes a tenth of the time of `isfinite`
        if not torch.compiler.is_compiling() and clips.numel() and not torch.stack(clips.aminmax()).isfinite().all():
            raise ValueError("the clips hold NaN or infinite values; check the frames before the transform")
        return self.forward_head(self.encode(clips))

    def encode(self, clips: Tensor) -> Tensor:
        """(b t 3 h w) -> (b c), the final feature before the BN neck; a long tracklet is the mean over its clips."""
        if not torch.compiler.is_compiling():
            check_clips(clips, self.neck.weight.dtype)
        return self.encode_clips(self.encode_frames(clips.flatten(0, 1)).unflatten(0, clips.shape[:2]))

    def encode_frames(self, frames: Tensor) -> Tensor:
        """(n 3 h w) -> (n p c), the parts of each frame: all that does not depend on the other frames of its clip."""
        check_input(frames, "n c h w", "encode_frames", 3)
        x = self.forward_map(frames[None])  # any number of frames as one clip
        if self.lsta is None and self.s_mga is None:
            return reduce(x, "1 n c h w -> n 1 c", "mean")
        attention = self.cpa(x) if self.cpa is not None else None
        return rearrange(self.part_features(x, attention), "1 p n c -> n p c")

    def encode_clips(self, features: Tensor) -> Tensor:
        """(b t p c), the features of each clip's frames -> (b c): time and parts become one feature."""
        check_input(features, "b t p c", "encode_clips", self.dim)
        if self.lsta is None and self.s_mga is None:
            return reduce(features, "b t 1 c -> b c", "mean")
        _, _, z_t, z_c = self.aggregate(rearrange(features, "b t p c -> b p t c"))
        return z_t if z_c is None else z_c

    def forward_head(self, z: Tensor) -> Tensor:
        """(b c) -> (b c) of unit length: BN neck, whitening if there is one, then the L2 norm in float32."""
        check_input(z, "b c", "forward_head", self.dim)
        return F.normalize(at_least_float32(self.after_neck(z)), dim=-1).to(z.dtype)

    def after_neck(self, z: Tensor) -> Tensor:
        """(b c) -> (b c), the feature that losses and tests compare: after the BN neck, and the whitening if any."""
        z = self.neck(z)
        return z if self.whitening is None else self.whitening(z)

    def forward_features(self, clips: Tensor) -> Features:
        """(b t 3 h w) -> every feature and attention the paper names; for training, study and pictures."""
        x = self.forward_map(clips)
        found = Features(map=x, z_f=reduce(x, "b t c h w -> b c", "mean"))
        if self.cpa is not None and self.mapa is not None:
            found.cpa = self.cpa.supervise(x)
            found.part_attention = self.mapa.augment(found.cpa.part_attention)
        if self.lsta is not None or self.s_mga is not None:
            found.parts = self.part_features(x, found.cpa.part_attention if found.cpa else None)
            q, found.part_vectors, z_t, found.z_c = self.aggregate(found.parts)
            if self.t_mga is not None:  # without it the paper has neither
                found.temporal_parts, found.z_t = q, z_t
        return found

    def forward_map(self, clips: Tensor) -> Tensor:
        """(b t 3 h w) -> (b t c h/16 w/16), the trunk on every frame."""
        if not torch.compiler.is_compiling():
            check_clips(clips, self.neck.weight.dtype)
        x = self.backbone(rearrange(clips, "b t c h w -> (b t) c h w"))
        return rearrange(x, "(b t) c h w -> b t c h w", t=clips.shape[1])

    def part_features(self, x: Tensor, attention: Tensor | None) -> Tensor:
        """(b t c h w), (b t n h w) -> (b n t c): attended parts (eq. 6), stripes, or the whole frame as one part."""
        if self.mapa is not None and attention is not None:
            return self.mapa(x, attention)
        if self.stripes is not None:
            return self.stripes(x)
        return reduce(x, "b t c h w -> b 1 t c", "max")

    def aggregate(self, parts: Tensor) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """(b n t c) -> (b n s t c), (b n c), Z^T (b c), Z^C (b c): time, then parts, or in the other order."""
        scales = list(self.config.part_scales)
        q = self.lsta(parts) if self.lsta is not None else rearrange(parts, "b n t c -> b n 1 t c")
        _, n, s, t, _ = q.shape
        if self.config.order == "st":
            assert self.t_mga is not None
            assert self.s_mga is not None
            frames = self.s_mga(rearrange(q, "b n s t c -> (b s t) n c").split(scales, dim=1))
            frames = rearrange(frames, "(b s t) c -> s b t c", s=s, t=t)
            return q, None, reduce(frames, "s b t c -> b c", "mean"), self.t_mga(frames.unbind())
        if self.t_mga is not None:  # one T-MGA serves all parts
            sets = rearrange(q, "b n s t c -> s (b n) t c").unbind()
            u = rearrange(self.t_mga(sets), "(b n) c -> b n c", n=n)
        else:
            u = reduce(q, "b n s t c -> b n c", "mean")
        return q, u, u.mean(1), self.s_mga(u.split(scales, dim=1)) if self.s_mga is not None else None

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As ``torch.nn.Module`` has it, which would convert any type without a word.

        Raises:
            WeightsError: parameters stored as integers, complex numbers or float8.
        """
        check_types(state_dict, self.state_dict(), "the state_dict")
        return super().load_state_dict(state_dict, strict=strict, assign=assign)

    def digest(self) -> str:
        """sha256 (hex) of configuration and weights; only embeddings of equal digests can be compared."""
        if self.fused_from:
            return self.fused_from
        default, config = STMGAConfig().to_dict(), self.config.to_dict()
        named = json.dumps({k: v for k, v in config.items() if v != default[k]}, sort_keys=True)
        total = hashlib.sha256(named.encode())
        hash_weights(total, self.state_dict())
        return total.hexdigest()

    def fuse(self) -> "STMGA":
        """A copy for inference only, with batch norms folded into convolutions; see :func:`stmga.fuse.fused`."""
        return fused(self)

    def check_inference(self, *, precision: str, compile: bool) -> None:  # noqa: A002 - its name in torch
        """Raise ValueError unless the weights are float32, which autocast and the folding of batch norms expect."""
        for dtype in {parameter.dtype for parameter in self.parameters()} - {torch.float32}:
            advice = "use model.float() and choose precision=" if dtype.is_floating_point else "load float32 weights"
            raise ValueError(f"the model's weights are {dtype}; {advice}")

    def for_inference(self, *, precision: str = "fp32", compile: bool = False, digest: str = "") -> "STMGA":  # noqa: A002
        """The copy that :class:`stmga.TrackletEmbedder` computes with: fused, and compiled if asked for.

        Args:
            precision: ``"fp32"``, or ``"bf16"`` or ``"fp16"`` for a copy that is only used under autocast.
            compile: torch.compile :meth:`encode_frames` and :meth:`encode_clips`, for any number of clips and frames.
            digest: of the weights, if it is known; computing it is a pass over all of them.
        """
        with evaluating(self):
            network = fused(self, half=AUTOCAST[precision], digest=digest)
        if compile:
            network.encode_frames = torch.compile(network.encode_frames, dynamic=True)  # type: ignore[method-assign]
            network.encode_clips = torch.compile(network.encode_clips, dynamic=True)  # type: ignore[method-assign]
        elif precision == "fp32" and network.device.type == "cpu":
            packed(network)
        return network

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        backbone: nn.Module | None = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        token: str | bool | None = None,
        device: str | torch.device = "cpu",
    ) -> "STMGA":
        """A trained network in eval mode from a folder or a Hub id, its bytes verified; see :func:`stmga.hub.load`.

        ``backbone`` is the module of a network that was saved with a trunk of the user's own; its weights are replaced.
        """
        return load(
            source,
            build=cls if backbone is None else with_trunk(cls, backbone),
            revision=revision,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            token=token,
            device=device,
        )

    def save_pretrained(
        self, folder: str | Path, *, record: WeightRecord | None = None, half: bool | None = None
    ) -> None:
        """Write ``model.safetensors``, ``config.json`` and the model card to ``folder``; see :func:`stmga.hub.save`."""
        save(self, folder, record=record, half=half)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = False,
        token: str | bool | None = None,
        commit_message: str = "Upload weights with stmga",
    ) -> str:
        """Send what :meth:`save_pretrained` writes to the Hub; returns the new commit. See :func:`stmga.hub.push`."""
        return push(self, repo_id, build=type(self), private=private, token=token, commit_message=commit_message)
