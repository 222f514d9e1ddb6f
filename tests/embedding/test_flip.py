"""Mirror images averaged in: the value, what it is independent of, and how such vectors are distinguished."""

import json
from pathlib import Path

import pytest
import torch

from stmga import Embeddings, Gallery, Tracklet, TrackletEmbedder
from stmga.deploy.export import export
from stmga.deploy.exported import ExportedModel
from stmga.embedding.clip_dataset import clip_indices
from stmga.embedding.resumable import PiecesError, embed_in_pieces
from stmga.metrics import Protocol, evaluate
from stmga.model import STMGA
from stmga.tracklets.tracklet import TrackletError
from stmga.transforms import ClipTransform
from tests.support.embedder import TINY, build, tracklets, write


def by_hand(model: STMGA, record: Tracklet) -> torch.Tensor:
    """The head of the mean over the clips and their mirror images."""
    transform = ClipTransform.from_config(model.config)
    clips = torch.stack([transform(record.frames[indices]) for indices in clip_indices(len(record), 4)])
    with torch.no_grad():
        return model.forward_head(model.encode(torch.cat([clips, clips.flip(-1)])).mean(0)[None])[0]


def test_the_mean_is_taken_before_the_neck(model: STMGA) -> None:
    model.eval()
    records = tracklets(3, 4, 11)
    got = TrackletEmbedder(model, batch_size=2, flip=True)(records)
    plain = TrackletEmbedder(model, batch_size=2)(records)
    for record, vector, without in zip(records, got.vectors, plain.vectors, strict=True):
        torch.testing.assert_close(vector, by_hand(model, record), atol=1e-5, rtol=0)
        assert (vector - without).abs().max() > 1e-3
    mirrored = [Tracklet(r.id, r.frames[:, :, ::-1].copy()) for r in records]
    torch.testing.assert_close(TrackletEmbedder(model, flip=True)(mirrored).vectors, got.vectors, atol=1e-5, rtol=0)


def test_a_vector_does_not_depend_on_its_neighbours(model: STMGA) -> None:
    records = tracklets(3, 8, 1, 10)
    together = TrackletEmbedder(model, batch_size=3, flip=True)(records).vectors
    alone = torch.cat([TrackletEmbedder(model, batch_size=1, flip=True)([record]).vectors for record in records])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


@pytest.mark.parametrize("frames", [None, (40, 20)], ids=["transformed outside", "transformed inside"])
def test_an_exported_file_takes_it_too(model: STMGA, tmp_path: Path, frames: tuple[int, int] | None) -> None:
    export(model.eval(), tmp_path / "it.pt2", frames=frames)
    records = {r.id: r.frames for r in (tracklets(3)[0], Tracklet("long", tracklets(11)[0].frames))}
    wanted = TrackletEmbedder(model, flip=True)(records)
    found = TrackletEmbedder(ExportedModel(tmp_path / "it.pt2"), flip=True)(records)
    torch.testing.assert_close(found.vectors, wanted.vectors, atol=1e-4, rtol=0)
    assert (found.flip, found.digest) == (True, wanted.digest)


def test_every_item_says_it_and_both_kinds_compare(model: STMGA, tmp_path: Path) -> None:
    records = tracklets(4, 4, 4, 4)
    with_flip, plain = TrackletEmbedder(model, flip=True)(records[:2]), TrackletEmbedder(model)(records[2:])
    assert (with_flip.flip, plain.flip) == (True, False)
    assert with_flip.items[0]["flip"] is True
    assert "flip" not in plain.items[0]
    gallery = Gallery(with_flip)
    gallery.add(plain)
    assert len(gallery.search(plain, k=3)[0]) == 3
    gallery.save(tmp_path / "both.safetensors")
    both = Embeddings.load(tmp_path / "both.safetensors")
    assert both.flip is None
    assert [both.select(rows).flip for rows in ([0, 1], [2, 3], [])] == [True, False, False]


def test_a_result_says_what_its_vectors_are() -> None:
    def side(*names: str, flip: bool) -> Embeddings:
        mark = {"flip": True} if flip else {}
        items = [{"tracklet": f"{n}{len(names)}", "person": n, "camera": len(names), **mark} for n in names]
        return Embeddings(torch.eye(4)[: len(items)], items, digest="1f0c")

    rules = Protocol(queries_in_gallery=False)
    for q, g, flip, words in (
        (True, True, True, "; mirror images averaged in"),
        (False, False, False, ""),
        (True, False, None, "; mirror images averaged into some"),
    ):
        found = evaluate(side("a", flip=q), side("a", "b", flip=g), rules).protocol
        assert found.flip is flip
        assert f"all frames{words}; no re-ranking" in found.describe()
        assert Protocol.from_dict(json.loads(json.dumps(found.to_dict()))) == found
        if not flip:
            with pytest.raises(ValueError, match=r"flip=True, but .*were made without"):
                evaluate(side("a", flip=q), side("a", "b", flip=g), Protocol(flip=True))
    assert "flip" not in rules.to_dict()  # so that a run from before this is the same run
    with pytest.raises(ValueError, match="flip must be true or false or None"):
        Protocol(flip="yes")


def test_the_key_is_not_the_users(tmp_path: Path) -> None:
    root = write(tmp_path, {"a": 1})
    (root / "m.jsonl").write_text('{"tracklet": "a", "frames": ["a/0.jpg"], "flip": true}\n')
    with pytest.raises(TrackletError, match="extra has the key 'flip', which has a meaning of its own"):
        TrackletEmbedder(build(TINY))(root / "m.jsonl")


def test_pieces_without_it_are_not_taken_up(model: STMGA, tmp_path: Path) -> None:
    out, every = tmp_path / "all.safetensors", tracklets(1, 5, 4)
    embedder = TrackletEmbedder(model, flip=True)
    embed = embedder.embed
    embedder.embed = lambda some: (_ for _ in ()).throw(KeyboardInterrupt)  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        embed_in_pieces(embedder, every, out)
    with pytest.raises(PiecesError, match="flip was True, now False"):
        embed_in_pieces(TrackletEmbedder(model), every, out)
    embedder.embed = embed  # type: ignore[method-assign]
    found = embed_in_pieces(embedder, every, out)
    assert found is not None
    assert found.flip is True
