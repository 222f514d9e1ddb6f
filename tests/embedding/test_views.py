"""Mirror images and two sizes averaged: the value, what it does not depend on, and how such vectors are marked."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from stmga import Embeddings, Gallery, Tracklet, TrackletEmbedder
from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel
from stmga.embedding.clip_dataset import clip_indices
from stmga.embedding.frame_encoder import FrameEncoder
from stmga.embedding.resumable import PiecesError, embed_in_pieces
from stmga.embedding.views import VIEWS, Views
from stmga.metrics import Protocol, evaluate
from stmga.model import STMGA
from stmga.tracklets.tracklet import TrackletError
from stmga.transforms import ClipTransform
from tests.support.embedder import TINY, build, pixels, tracklets, write

EACH = pytest.mark.parametrize(
    "views", [{"flip": True}, {"two_sizes": True}, {"flip": True, "two_sizes": True}], ids=str
)


def by_hand(model: STMGA, record: Tracklet, *, flip: bool = False, two_sizes: bool = False) -> torch.Tensor:
    """The head of the mean over the clips, their mirror images, and their frames of 40 x 24."""
    own = ClipTransform.from_config(model.config)
    transform = replace(own, size=(40, 24)) if two_sizes else own
    clips = torch.stack([transform(record.frames[indices]) for indices in clip_indices(len(record), 4)])
    sides = [clips]
    if two_sizes:
        smaller = F.interpolate(clips.flatten(0, 1), own.size, mode="bicubic", antialias=True)
        sides.append(smaller.unflatten(0, clips.shape[:2]))
    if flip:
        sides += [side.flip(-1) for side in sides]
    with torch.no_grad():
        return model.forward_head(torch.cat([model.encode(side) for side in sides]).mean(0)[None])[0]


@EACH
def test_the_mean_is_taken_before_the_neck(model: STMGA, views: dict[str, bool]) -> None:
    model.eval()
    records = tracklets(3, 4, 11)
    got = TrackletEmbedder(model, batch_size=2, **views)(records)
    plain = TrackletEmbedder(model, batch_size=2)(records)
    for record, vector, without in zip(records, got.vectors, plain.vectors, strict=True):
        torch.testing.assert_close(vector, by_hand(model, record, **views), atol=1e-5, rtol=0)
        assert (vector - without).abs().max() > 1e-3


def test_a_mirrored_tracklet_has_the_same_vector(model: STMGA) -> None:
    records = tracklets(3, 4, 11)
    mirrored = [Tracklet(r.id, r.frames[:, :, ::-1].copy()) for r in records]
    found, wanted = (TrackletEmbedder(model, flip=True)(some).vectors for some in (mirrored, records))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=0)


def test_the_smaller_size_is_nearly_the_plain_one() -> None:
    views = Views(model := build(TINY), flip=False, two_sizes=True)
    assert (views.transform.size, len(views)) == ((40, 24), 2)
    frames = torch.from_numpy(pixels(3, 0, (200, 100)))
    own, larger = views.of(views.transform(frames.permute(0, 3, 1, 2)))
    assert own.shape[-2:] == model.config.size
    assert larger.shape[-2:] == (40, 24)
    assert (own - model.transform(frames.permute(0, 3, 1, 2))).abs().mean() < 0.02


@EACH
def test_a_vector_does_not_depend_on_its_neighbours(model: STMGA, views: dict[str, bool]) -> None:
    records = tracklets(3, 8, 1, 10)
    together = TrackletEmbedder(model, batch_size=3, **views)(records).vectors
    alone = torch.cat([TrackletEmbedder(model, batch_size=1, **views)([record]).vectors for record in records])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [None, (40, 20)], ids=["transformed outside", "transformed inside"])
def test_an_exported_file_takes_mirror_images_and_one_size(
    model: STMGA, tmp_path: Path, frames: tuple[int, int] | None
) -> None:
    export(model.eval(), tmp_path / "it.pt2", frames=frames)
    records = {r.id: r.frames for r in (tracklets(3)[0], Tracklet("long", tracklets(11)[0].frames))}
    wanted = TrackletEmbedder(model, flip=True)(records)
    found = TrackletEmbedder(ExportedModel(tmp_path / "it.pt2"), flip=True)(records)
    torch.testing.assert_close(found.vectors, wanted.vectors, atol=1e-4, rtol=0)
    assert (found.flip, found.digest) == (True, wanted.digest)
    wrong = "takes frames of 40 x 24 too, and this one does not" if frames is None else "transform is a stmga.ClipTrans"
    with pytest.raises(ValueError, match=f"two_sizes=True needs a network .*{wrong}"):
        TrackletEmbedder(ExportedModel(tmp_path / "it.pt2"), two_sizes=True)


def test_a_network_of_images_takes_them_too() -> None:
    class Mean(torch.nn.Module):
        def forward(self, frames: torch.Tensor) -> torch.Tensor:
            return frames.mean((2, 3)) + frames.shape[2]

    encoder = FrameEncoder(Mean(), size=(32, 16), mean=(0, 0, 0), std=(1, 1, 1), clip_length=2)
    found = TrackletEmbedder(encoder, two_sizes=True)({"a": np.full((3, 9, 5, 3), 255, np.uint8)})
    torch.testing.assert_close(found.vectors, torch.full((1, 3), 3**-0.5))
    assert found.two_sizes is True


@pytest.mark.parametrize("view", VIEWS)
def test_every_item_says_it_and_both_kinds_compare(model: STMGA, tmp_path: Path, view: str) -> None:
    records = tracklets(4, 4, 4, 4)
    with_view, plain = TrackletEmbedder(model, **{view: True})(records[:2]), TrackletEmbedder(model)(records[2:])
    assert (getattr(with_view, view), getattr(plain, view)) == (True, False)
    assert with_view.items[0][view] is True
    assert view not in plain.items[0]
    gallery = Gallery(with_view)
    gallery.add(plain)
    assert len(gallery.search(plain, k=3)[0]) == 3
    gallery.save(tmp_path / "both.safetensors")
    both = Embeddings.load(tmp_path / "both.safetensors")
    assert getattr(both, view) is None
    assert [getattr(both.select(rows), view) for rows in ([0, 1], [2, 3], [])] == [True, False, False]


@pytest.mark.parametrize(
    ("view", "all_of_them", "some"),
    [
        ("flip", "mirror images averaged in", "mirror images averaged into some"),
        ("two_sizes", "two sizes averaged", "two sizes averaged in some"),
    ],
)
def test_a_result_says_what_its_vectors_are(view: str, all_of_them: str, some: str) -> None:
    def side(*names: str, on: bool) -> Embeddings:
        mark = {view: True} if on else {}
        items = [{"tracklet": f"{n}{len(names)}", "person": n, "camera": len(names), **mark} for n in names]
        return Embeddings(torch.eye(4)[: len(items)], items, digest="1f0c")

    rules = Protocol(queries_in_gallery=False)
    for q, g, made, words in (
        (True, True, True, f"; {all_of_them}"),
        (False, False, False, ""),
        (True, False, None, f"; {some}"),
    ):
        found = evaluate(side("a", on=q), side("a", "b", on=g), rules).protocol
        assert getattr(found, view) is made
        assert f"all frames{words}; no re-ranking" in found.describe()
        assert Protocol.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        if not made:
            with pytest.raises(ValueError, match=rf"{view}=True, but .*were made without.*--{view.replace('_', '-')}"):
                evaluate(side("a", on=q), side("a", "b", on=g), Protocol(**{view: True}))
    assert view not in rules.to_dict()  # so that a run from before this is the same run
    with pytest.raises(ValueError, match=f"{view} must be true or false or None"):
        Protocol(**{view: "yes"})


@pytest.mark.parametrize("view", VIEWS)
def test_the_key_is_not_the_users(tmp_path: Path, view: str) -> None:
    root = write(tmp_path, {"a": 1})
    (root / "m.jsonl").write_text(f'{{"tracklet": "a", "frames": ["a/0.jpg"], "{view}": true}}\n')
    with pytest.raises(TrackletError, match=f"extra has the key '{view}', which has a meaning of its own"):
        TrackletEmbedder(build(TINY))(root / "m.jsonl")


@EACH
def test_pieces_without_them_are_not_taken_up(model: STMGA, tmp_path: Path, views: dict[str, bool]) -> None:
    out, every = tmp_path / "all.safetensors", tracklets(1, 5, 4)
    embedder = TrackletEmbedder(model, **views)
    embed = embedder.embed
    embedder.embed = lambda some: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        embed_in_pieces(embedder, every, out)
    with pytest.raises(PiecesError, match=f"{next(iter(views))} was True, now False"):
        embed_in_pieces(TrackletEmbedder(model), every, out)
    embedder.embed = embed  # type: ignore[method-assign]
    found = embed_in_pieces(embedder, every, out)
    assert found is not None
    assert {view: True for view in VIEWS if getattr(found, view)} == views
