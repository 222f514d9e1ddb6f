"""Two cameras with a tracker each: which tracks show the same person?

A tracker's output in MOT format is enough: `frame,id,x,y,w,h,confidence` in a text file, and the frames as a folder of
images or as a video (`pip install "stmga[video]"`). The same as
    stmga embed camera0.txt -o camera0.safetensors --mot-frames camera0 --camera 0
    stmga embed camera1.txt -o camera1.safetensors --mot-frames camera1 --camera 1
    stmga search camera0.safetensors camera1.safetensors
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

import stmga
from stmga.data.walkers.render import render_tracklet
from stmga.tracklets.mot import read_mot

PEOPLE, FRAMES, WIDTH, HEIGHT = 4, 6, 64, 128


def film(camera: int) -> tuple[Path, Path]:
    """A scene with people side by side: a folder of frames, and the track file that a tracker would write."""
    folder, lines = Path(f"camera{camera}"), []
    folder.mkdir(exist_ok=True)
    people = [render_tracklet(person, camera, frames=FRAMES) for person in range(PEOPLE)]
    for t in range(FRAMES):
        Image.fromarray(np.concatenate([frames[t] for frames in people], axis=1)).save(folder / f"{t + 1:06d}.jpg")
        lines += [f"{t + 1},{p + 1},{p * WIDTH},0,{WIDTH},{HEIGHT},1" for p in range(PEOPLE)]
    tracks = Path(f"camera{camera}.txt")
    tracks.write_text("\n".join(lines) + "\n")
    return tracks, folder


torch.manual_seed(0)
embedder = stmga.TrackletEmbedder(stmga.create_model("stmga_resnet18_c4"))  # random: see example 01
first, second = (embedder(read_mot(*film(camera), camera=camera)) for camera in (0, 1))

gallery = stmga.Gallery(second)
for name, found in zip(first.ids, gallery.search(first, k=1), strict=True):
    print(f"track {name} looks most like track {found[0].id} (cosine {found[0].similarity:.3f})")
