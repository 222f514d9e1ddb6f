"""From folders of crops to ranked matches: a list, a score and a picture.

The same as
    stmga embed labelled/ -o all.safetensors --layout "{person}/{camera}/{tracklet}"
    stmga search all.safetensors all.safetensors --where camera=0 --gallery-where camera=1 --picture ranked.png
"""

from pathlib import Path

import torch
from PIL import Image

import stmga
from stmga.cli.report import cards
from stmga.data.walkers.render import render_walkers
from stmga.metrics import Protocol, evaluate
from stmga.tracklets.folders import read_folder
from stmga.tracklets.tracklet import load_cover
from stmga.visualize import ranked_picture

# A usual layout of folders: labelled/<person>/<camera>/<tracklet>/<frame>.jpg
root = Path("labelled")
for walker in render_walkers(6, frames=6):
    folder = root / f"{walker.person:04d}" / str(walker.camera) / walker.id
    folder.mkdir(parents=True, exist_ok=True)
    for i, frame in enumerate(walker.frames):
        Image.fromarray(frame).save(folder / f"{i:04d}.jpg")

tracklets = read_folder(root, layout="{person}/{camera}/{tracklet}")
torch.manual_seed(0)
model = stmga.create_model("stmga_resnet18_c4")  # random: see example 01
embeddings = stmga.TrackletEmbedder(model, progress=True)(tracklets)
embeddings.save("all.safetensors")  # vectors, ids, and the digest of the weights

queries, seen = (embeddings.select([camera == wanted for camera in embeddings.cameras]) for wanted in ("0", "1"))
gallery = stmga.Gallery(seen)
matches = gallery.search(queries, k=5)
for name, found in zip(queries.ids, matches, strict=True):
    print(name, "->", ", ".join(f"{match.id} {match.similarity:.3f}" for match in found[:2]))

print(evaluate(queries, seen, Protocol(data="rendered walkers", queries_in_gallery=False)))
ranked_picture(*cards(queries, matches, seen, load_cover), title="First five matches").save("ranked.png")
print("wrote ranked.png")
