"""torch.hub: a network and its preprocessing in two lines.

Here from this folder, so that it runs without the network; from GitHub write
    torch.hub.load("<owner>/stmga:v0.1.0", "stmga_resnet18_c4", pretrained=True, trust_repo=True)
"""

from pathlib import Path

import torch

repository = str(Path(__file__).resolve().parents[1])
model = torch.hub.load(repository, "stmga_resnet18_c4", pretrained=True, source="local")
transform = torch.hub.load(repository, "transforms", "stmga_resnet18_c4", pretrained=True, source="local")

frames = torch.randint(0, 256, (8, 3, 120, 56), dtype=torch.uint8)
with torch.inference_mode():
    vector = model(transform(frames)[None])
print(vector.shape, "length", vector.norm().item())
