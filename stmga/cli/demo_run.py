"""What ``stmga demo`` does: rendered figures through the whole library, into one table and one picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stmga.cli.report import cards, score, write_picture
from stmga.data.walkers.render import render_tracklet, render_walkers
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.gallery.gallery import Gallery
from stmga.gallery.matches import Match
from stmga.model import STMGA
from stmga.tracklets.tracklet import Tracklet
from stmga.transforms import ClipTransform
from stmga.utils.text import text_table
from stmga.visualize import part_overlay, ranked_picture, stack
from stmga.zoo import create_model, list_weights

ARCHITECTURE = "stmga_resnet18_c4"
UNTRAINED = "random weights, NOT TRAINED: they show that everything works, not how well"


@dataclass(frozen=True)
class Demo:
    """What the demo found: ``text`` for the terminal and where the ``picture`` is."""

    text: str
    picture: Path


def run_demo(folder: str | Path, *, persons: int = 16, seed: int = 0, progress: bool = False) -> Demo:
    """Render ``persons`` figures seen by two cameras, find those of the first among those of the second, draw it all.

    No download and no file of the user's; writes ``folder/demo.png``, whole or not at all.

    Raises:
        OSError: the folder cannot be made or written.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model, weights = _model()
    tracklets = render_walkers(persons, cameras=2, seed=seed)
    embeddings = TrackletEmbedder(model, progress=progress)(tracklets)
    queries, gallery = (
        embeddings.select([item["role"] == role for item in embeddings.items]) for role in ("query", "gallery")
    )
    matches = Gallery(gallery).search(queries, k=5)
    figures = _figures(queries, gallery, weights)
    picture = folder / "demo.png"
    write_picture(picture, _picture(model, tracklets, queries, gallery, matches, figures, seed))
    text = text_table(("what", "value"), list(figures.items()))
    return Demo(text, picture)


def _model() -> tuple[STMGA, str]:
    """The network, with trained weights if the package has some and random ones otherwise, and the weights' name."""
    names = list_weights(f"{ARCHITECTURE}.*")
    if names:
        model = create_model(ARCHITECTURE, pretrained=True)
        return model, model.record.name if model.record else ARCHITECTURE
    torch.manual_seed(0)
    return create_model(ARCHITECTURE).eval(), UNTRAINED


def _figures(queries: Embeddings, gallery: Embeddings, weights: str) -> dict[str, str]:
    scores = score(queries, gallery)
    assert scores is not None  # every figure walks past both cameras
    return {
        "model": ARCHITECTURE,
        "weights": weights,
        "queries": f"{scores.queries} tracklets of camera 0",
        "gallery": f"{len(gallery)} tracklets of camera 1",
        "rank-1": f"{scores.rank(1):.1%} (by chance {1 / len(gallery):.1%})",
        "rank-5": f"{scores.rank(5):.1%}",
        "mAP": f"{scores.mAP:.1%}",
    }


def _picture(
    model: STMGA,
    tracklets: Sequence[Tracklet],
    queries: Embeddings,
    gallery: Embeddings,
    matches: Sequence[Sequence[Match]],
    figures: Mapping[str, str],
    seed: int,
    rows: int = 6,
) -> Any:
    crops = {tracklet.id: tracklet.frames[len(tracklet) // 2] for tracklet in tracklets}
    few = queries.select(range(min(rows, len(queries))))
    shown, found = cards(few, matches[:rows], gallery, lambda item: crops[item["tracklet"]])
    ranked = ranked_picture(shown, found)
    clear, hidden = (render_tracklet(1, 1, seed=seed, occlusion=chance) for chance in (0.0, 1.0))
    note = "Attention of the four finest parts over the frames; beside each row its lowest and highest value."
    left = stack([ranked], title="Who is it?", note="Queries: camera 0. Gallery: camera 1.", margin=0)
    right = stack(
        [
            stack([_attention(model, clear)], title="Where the parts look", note=note, margin=0),
            stack([_attention(model, hidden)], title="The same person, occluded", margin=0),
        ]
    )
    title = f"stmga demo: rank-1 {figures['rank-1']}, mAP {figures['mAP']}"
    return stack([left, right], across=True, title=title, note=f"{figures['model']}, {figures['weights']}.")


def _attention(model: STMGA, frames: np.ndarray) -> Any:
    """The finest parts of CPA over the frames; the coarser ones are their sums."""
    clip = ClipTransform.from_config(model.config)(frames)
    with torch.inference_mode():
        attention = model.forward_features(clip[None]).part_attention
    assert attention is not None  # the demo's architecture has CPA
    return part_overlay(frames, attention[0, :, -max(model.config.part_scales) :])
