"""Two tracklets, one number: how alike they are.

A tracklet is a few frames of one person in one camera. The figures are rendered, the weights are random; with trained
weights write `stmga.create_model("stmga_resnet18_c4", pretrained=True)`, and nothing else changes.
"""

import torch

import stmga
from stmga.data.walkers.render import render_tracklet

torch.manual_seed(0)
model = stmga.create_model("stmga_resnet18_c4").eval()
transform = stmga.ClipTransform.from_config(model.config)
print(transform)

# uint8 (t, h, w, 3); lists of PIL images or of files work as well
tracklets = {
    "person 3, camera 0": render_tracklet(3, 0),
    "person 3, camera 1": render_tracklet(3, 1),
    "person 4, camera 1": render_tracklet(4, 1),
}

# By hand: one clip each, (b, t, 3, h, w) in, unit vectors (b, c) out.
clips = torch.stack([transform(frames) for frames in tracklets.values()])
with torch.inference_mode():
    vectors = model(clips)
print("\ncosine similarities\n", vectors @ vectors.T)

# Or with the embedder, which takes tracklets of any length, cuts them into clips and puts these into batches.
embeddings = stmga.TrackletEmbedder(model)(tracklets)
assert torch.allclose(embeddings.vectors, vectors, atol=1e-5)
print("\n", embeddings, sep="")
