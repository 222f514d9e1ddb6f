"""Other trunks than ResNets: a network of timm by name, and a vision transformer of your own. Offline, random weights.

The networks of timm need `pip install 'stmga[timm]'`. On real weights: docs/use/your-own-trunk.md.
"""

from dataclasses import replace
from importlib.util import find_spec

import torch
from torch import nn

import stmga
from stmga.data import walkers_benchmark
from stmga.train import recipe, train


class Transformer(nn.Module):
    """(n 3 h w) -> (n l c): patches of 16, a class token, two layers. CLIP's or DINO's has twelve."""

    def __init__(self, size: tuple[int, int], width: int = 64) -> None:
        super().__init__()
        patches = size[0] * size[1] // 16**2
        self.patches = nn.Conv2d(3, width, 16, stride=16)
        self.class_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, patches + 1, width))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 4, 128, batch_first=True) for _ in range(2))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(frames).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.class_token.expand(frames.shape[0], -1, -1), tokens), dim=1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens


torch.manual_seed(0)
config = stmga.STMGAConfig(size=(64, 32), clip_length=2, temporal_conv="depthwise", relation_dim=16)
trunk = stmga.TokenMap(Transformer(config.size), grid=(4, 2))  # 64 x 32 in patches of 16
model = stmga.STMGA(config, backbone=trunk)
print(f"a transformer of our own: {model.dim} channels, the configuration says {model.config.backbone!r}")

# It trains, saves and loads like any other. Loading needs the module again.
benchmark = walkers_benchmark(6, 4, cameras=2, tracklets=2, frames=4, size=(64, 32))
result = train(model, benchmark, recipe("cpu", persons=4, epochs=2, frozen=["vit.patches"]), "trunk-run")
print(result.table())
trunk = stmga.TokenMap(Transformer(config.size), grid=(4, 2))
model = stmga.STMGA.from_pretrained("trunk-run/best", backbone=trunk)
embeddings = stmga.TrackletEmbedder(model)(benchmark.query)
print(f"{len(embeddings.ids)} tracklets embedded in {embeddings.vectors.shape[1]} numbers each")

if find_spec("timm") is not None:
    for name in ("timm:convnext_atto", "timm:vit_tiny_patch16_224", "timm:mobilenetv3_small_100"):
        model = stmga.STMGA(replace(config, backbone=name, stage="c4")).eval()
        z = model(torch.rand(1, 2, 3, 64, 32))
        print(f"{name}: {model.dim} channels, {sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters")
