"""Vectors kept small: what rounding costs, files of them, and galleries that stay on disk or grow."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from stmga import Embeddings, Gallery
from stmga.calibration import Calibration, Threshold
from stmga.embedding.embeddings_file import write_file
from stmga.embedding.vectors import KINDS, Vectors
from stmga.gallery.topk import topk
from tests.support.paths import ROOT


def embeddings(n: int, dim: int = 32, *, seed: int = 0, name: str = "g") -> Embeddings:
    torch.manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.randn(n, dim))
    return Embeddings(vectors, [{"tracklet": f"{name}{i}", "camera": i % 3} for i in range(n)], "d" * 64, "m.x")


@pytest.mark.parametrize(("kind", "error"), [("float32", 0.0), ("float16", 2**-11), ("int8", 0.5 / 127)])
def test_rounding_is_within_half_a_step(kind: str, error: float) -> None:
    vectors = embeddings(50).vectors
    kept = Vectors.keep(vectors, kind)
    assert kept.kind == kind and kept.dim == 32 and len(kept) == 50
    largest = vectors.abs().amax(1, keepdim=True)
    assert ((kept.rows(slice(None)) - vectors).abs() <= error * largest * 1.001).all()
    assert torch.equal(kept.rows(torch.tensor([7, 3])), kept.rows(slice(None))[[7, 3]])
    with pytest.raises(ValueError, match="float32, float16, int8, got 'int4'"):
        Vectors.keep(vectors, "int4")


@pytest.mark.parametrize("kind", KINDS)
def test_a_gallery_in_its_file_is_searched_as_in_memory(kind: str, tmp_path: Path) -> None:
    one, two, queries = embeddings(300), embeddings(200, seed=1, name="h"), embeddings(9, seed=2, name="q")
    gallery = Gallery(one, storage=kind)
    gallery.add(two)
    path = gallery.save(tmp_path / "g.safetensors")
    back = Gallery.load(path)
    assert back.storage == kind and len(back) == 500
    for a, b in zip(gallery.topk(queries, 12), back.topk(queries, 12), strict=True):
        assert torch.equal(a, b)
    whole = Embeddings.load(path)
    assert torch.equal(whole.vectors, gallery.embeddings.vectors) and whole.items == gallery.items
    assert Gallery.load(path, storage="int8").storage == "int8"
    with safe_open(path, framework="pt") as file:
        assert file.get_tensor("vectors").dtype == KINDS[kind]
    assert path.stat().st_size < 500 * 32 * KINDS[kind].itemsize + 500 * 4 + 30_000
    assert Embeddings.load(one.save(tmp_path / "e.safetensors", storage=kind)).ids == one.ids


ON_DISK = """
import os, sys
from pathlib import Path
from stmga import Gallery
from tests.embedding.test_vectors import embeddings

def anonymous():
    resident, shared = map(int, Path("/proc/self/statm").read_text().split()[1:3])
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE")

queries, before = embeddings(3, 512, seed=1, name="q"), anonymous()
gallery = Gallery.load(sys.argv[1])
gallery.topk(queries, 5)
print(anonymous() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc to read the memory from")
def test_a_loaded_gallery_stays_on_disk(tmp_path: Path) -> None:
    """In a process of its own: what other tests freed would be taken again without a trace."""
    path = embeddings(40_000, 512).save(tmp_path / "g.safetensors")
    command = [sys.executable, "-c", ON_DISK, str(path)]
    taken = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert 1e6 < int(taken) < 70e6  # the vectors alone are 82 MB; the rows' dictionaries are in memory


def test_a_search_goes_on_in_what_it_began_with() -> None:
    """While another thread adds: every answer is that of the gallery at some moment."""
    gallery, queries = Gallery(embeddings(500)), embeddings(20, seed=5, name="q")
    failures: list[BaseException] = []
    stop = threading.Event()

    def look() -> None:
        try:
            while not stop.is_set():
                before = len(gallery)
                _, rows = gallery.topk(queries, 10, block=64)
                assert (rows >= 0).all() and int(rows.max()) < len(gallery) and before >= 500
                assert all(len(matches) == 5 for matches in gallery.search(queries, 5, other_camera=True, block=64))
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    for i in range(20):
        gallery.add(embeddings(50, seed=10 + i, name=f"more{i}-"))
    stop.set()
    thread.join()
    assert not failures, failures
    assert torch.equal(gallery.topk(queries, 10)[1], Gallery(gallery.embeddings).topk(queries, 10)[1])


@pytest.mark.parametrize("k", [1, 10, 40])
def test_candidates_that_hide_a_better_one_are_searched_again(k: int) -> None:
    """A hundred vectors that float32 cannot distinguish, in a gallery of others: float64 can, at any block size."""
    torch.manual_seed(0)
    query = torch.nn.functional.normalize(torch.randn(1, 64, dtype=torch.float64))
    near = query + 1e-7 * torch.randn(100, 64, dtype=torch.float64)
    rows = torch.cat([torch.nn.functional.normalize(torch.randn(400, 64)), near.float()])
    rows = rows[torch.randperm(500)]
    exact = (torch.nn.functional.normalize(rows.double()) @ torch.nn.functional.normalize(query.float().double()).T)[
        :, 0
    ]
    order = torch.sort(exact.float(), descending=True, stable=True).indices[:k]
    for block in (7, 64, 1000):
        _, found = topk(
            query.float(), [Vectors.keep(rows[:123]), Vectors.keep(rows[123:])], k,
            self_rows=torch.tensor([-1]), exclude=None, threshold=None, block=block, device=torch.device("cpu"),
        )  # fmt: skip
        assert torch.equal(found[0], order)


def test_a_file_that_contradicts_itself_is_no_gallery(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The checks of Embeddings hold for a gallery that stays in its file."""
    good = embeddings(4)

    def written(vectors: torch.Tensor, items: list[dict], **changes) -> Path:
        about = {"digest": good.digest, "model": "m.x", "calibration": None} | changes
        write_file(tmp_path / "g.safetensors", [Vectors.keep(vectors)], items, [], **about)
        return tmp_path / "g.safetensors"

    with pytest.raises(ValueError, match="4 vectors but 3 items"):
        Gallery.load(written(good.vectors, good.items[:3]))
    with pytest.raises(ValueError, match="1 tracklet ids occur more than once: g0"):
        Gallery.load(written(good.vectors, [good.items[0], *good.items[:3]]))
    with pytest.raises(ValueError, match="not finite: g2"):
        Gallery.load(written(good.vectors.index_fill(0, torch.tensor([2]), float("nan")), good.items))
    with pytest.raises(ValueError, match=r"without the key 'tracklet'.*3"):
        Gallery.load(written(good.vectors, [*good.items[:3], {}]))
    point = Threshold(false_match_rate=0.01, similarity=0.5, true_match_rate=0.9)
    other = Calibration(thresholds=(point,), lower=0.1, impostor_pairs=1, genuine_pairs=1, persons=2, digest="e" * 64)
    assert Gallery.load(written(good.vectors, good.items, calibration=other)).calibration is None
    assert "is dropped" in caplog.text
