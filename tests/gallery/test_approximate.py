"""The approximate index: exact similarities of what it finds, its file, its growth, and whom it refuses."""

import os
import threading
from pathlib import Path

import pytest
import torch

from stmga import Embeddings, Gallery
from stmga.gallery import GalleryError
from stmga.gallery.approximate import KINDS, GalleryIndex

pytest.importorskip("faiss")


def embeddings(n: int, *, seed: int = 0, name: str = "g", digest: str = "d" * 64) -> Embeddings:
    """People: twenty vectors around each of n / 20 centres."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(-(-n // 20), 32, generator=torch.Generator().manual_seed(99))
    vectors = centres.repeat_interleave(20, 0)[:n] + 0.4 * torch.randn(n, 32, generator=draw)
    items = [{"tracklet": f"{name}{i}", "person": i // 20, "camera": i % 4} for i in range(n)]
    return Embeddings(torch.nn.functional.normalize(vectors), items, digest)


@pytest.fixture(scope="module")
def gallery() -> Gallery:
    return Gallery(embeddings(3000))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_found_is_ranked_exactly(gallery: Gallery, kind: str, tmp_path: Path) -> None:
    index, queries = GalleryIndex(gallery, kind=kind), embeddings(200, seed=1, name="q")
    assert len(index) == 3000 and index.recall(queries, 10) > 0.9
    exact, rows = gallery.topk(queries, 10)
    similarities, found = index.topk(queries, 10)
    right = found == rows
    assert torch.equal(similarities[right], exact[right]) and (similarities[:, :-1] >= similarities[:, 1:]).all()
    everything = GalleryIndex(gallery, kind=kind, effort=3000)
    assert everything.recall(queries, 10) > 0.99 >= 0.9 < index.recall(queries, 10)
    back = GalleryIndex.load(index.save(tmp_path / "i.safetensors"), gallery)
    assert (back.kind, back.effort) == (kind, index.effort)
    assert torch.equal(back.topk(queries, 10)[1], found)


def test_rules_of_the_gallery_hold(gallery: Gallery) -> None:
    index = GalleryIndex(gallery, effort=3000)
    own = gallery.embeddings.select([0, 41, 2999])  # they are in the gallery themselves
    assert index.search(own, 8) == gallery.search(own, 8)
    assert index.search(own, 8, other_camera=True) == gallery.search(own, 8, other_camera=True)
    strict = index.search(own, 30, threshold=0.7)
    assert strict == gallery.search(own, 30, threshold=0.7) and all(len(found) < 30 for found in strict)


def test_it_grows_with_its_gallery_while_it_is_searched(tmp_path: Path) -> None:
    gallery = Gallery(embeddings(2000))
    index = GalleryIndex(gallery)
    path = index.save(tmp_path / "i.safetensors")
    threads = [threading.Thread(target=index.search, args=(embeddings(50, seed=3, name="q"),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    gallery.add(embeddings(400, seed=7, name="more"))
    for thread in threads:
        thread.join()
    newest = gallery.embeddings.select([2399])
    query = Embeddings(newest.vectors, [{"tracklet": "q"}], newest.digest)
    assert index.search(query, 1)[0][0].row == 2399 and len(index) == 2400
    assert GalleryIndex.load(path, gallery).search(query, 1)[0][0].row == 2399


def test_whom_it_refuses(gallery: Gallery, tmp_path: Path) -> None:
    index = GalleryIndex(gallery)
    path = index.save(tmp_path / "i.safetensors")
    with pytest.raises(GalleryError, match=r"built for vectors of weights dddddddddddd, the gallery has those of eeee"):
        GalleryIndex.load(path, Gallery(embeddings(3000, digest="e" * 64)))
    with pytest.raises(GalleryError, match=r"built for 3,000 tracklets, the gallery has 40"):
        GalleryIndex.load(path, Gallery(embeddings(40)))
    with pytest.raises(GalleryError, match="different weights cannot be compared"):
        index.search(embeddings(2, digest="e" * 64, name="q"))
    with pytest.raises(GalleryError, match="empty"):
        GalleryIndex(Gallery())
    with pytest.raises(ValueError, match=r"'hnsw', 'ivf', 'ivf-int8', got 'flat'"):
        GalleryIndex(gallery, kind="flat")
    for effort in (0, -1, 1 << 31, 10**30, 1.5, float("nan"), True, "3"):
        with pytest.raises(ValueError, match=r"effort must be a whole number from 1 to 2,147,483,647"):
            GalleryIndex(gallery, kind="hnsw", effort=effort)
    with pytest.raises(FileNotFoundError, match="no index file"):
        GalleryIndex.load(tmp_path / "none", gallery)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"damaged index.*build it again"):
        GalleryIndex.load(path, gallery)
    with pytest.raises(ValueError, match="it is not an index"):
        GalleryIndex.load(embeddings(3).save(tmp_path / "e.safetensors"), gallery)


def rewritten(path: Path, name: str, **about: str) -> Path:
    """The same index with other metadata, or other bytes."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    with safe_open(path, framework="pt") as file:
        metadata, content, marks = dict(file.metadata()), file.get_tensor("index"), file.get_tensor("marks")
    if name == "flipped":
        content = content.clone()
        content[len(content) // 2] ^= 1
    if name == "floats":
        content = content.float()
    if name == "two axes":
        content = content[None]
    metadata = {key: value for key, value in (metadata | about).items() if value is not None}
    other = path.with_name(f"{name}.safetensors")
    if name == "short marks":
        marks = marks[1:].contiguous()
    save_file({"index": content} | ({"marks": marks} if name != "no marks" else {}), other, metadata)
    return other


@pytest.mark.parametrize(
    ("name", "about"),
    [
        ("flipped", {}),
        ("floats", {}),
        ("two axes", {}),
        ("no digest", {"sha256": None}),
        ("another", {"sha256": "0" * 64}),
        ("kind", {"kind": "hnsw"}),
        ("no kind", {"kind": "\x1b"}),
        ("effort", {"effort": "x"}),
        ("less", {"effort": "-1"}),
        ("more", {"effort": "9" * 12}),
        ("no marks", {}),
        ("short marks", {}),
        ("count", {"count": "7"}),
        ("no count", {"count": "\x1b"}),
        ("negative", {"count": "-1"}),
        ("huge", {"count": "9" * 5000}),
    ],
)
def test_a_file_that_is_not_as_it_was_written(gallery: Gallery, tmp_path: Path, name: str, about: dict) -> None:
    """FAISS never sees bytes that are not those of the digest, and an index is what its file says."""
    path = GalleryIndex(gallery).save(tmp_path / "i.safetensors")
    with pytest.raises(ValueError, match=r"damaged index.*build it again") as caught:
        GalleryIndex.load(rewritten(path, name, **about), gallery)
    assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 600


def test_an_index_of_other_vectors_is_noticed(gallery: Gallery, tmp_path: Path) -> None:
    narrow = embeddings(3000)
    other = Gallery(Embeddings(torch.nn.functional.normalize(narrow.vectors[:, :16]), narrow.items, narrow.digest))
    path = GalleryIndex(other).save(tmp_path / "i.safetensors")
    with pytest.raises(GalleryError, match=r"that of 'g0', row 0 of the gallery, is not the one it has there"):
        GalleryIndex.load(path, gallery)


def test_an_index_of_the_same_weights_and_other_tracklets(gallery: Gallery, tmp_path: Path) -> None:
    """Other tracklets, another order and one vector that changed are noticed; rounded vectors are the same."""
    known = gallery.embeddings
    path = GalleryIndex(gallery).save(tmp_path / "i.safetensors")
    one = known.vectors.clone()
    one[1234] = one[7]
    others = {
        0: embeddings(3000, seed=5),
        100: known.select([*range(100), 101, 100, *range(102, 3000)]),
        1234: Embeddings(one, known.items, known.digest),
    }
    for row, other in others.items():
        with pytest.raises(GalleryError, match=f"row {row} of the gallery, is not the one it has there"):
            GalleryIndex.load(path, Gallery(other))
    for storage in ("float16", "int8"):
        assert len(GalleryIndex.load(path, Gallery(known, storage=storage))) == 3000


def test_an_index_that_is_no_regular_file(gallery: Gallery, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="not a regular file"):
        GalleryIndex.load(tmp_path / "pipe", gallery)
