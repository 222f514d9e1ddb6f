"""Approximate search in large galleries: FAISS finds candidates, the gallery's own vectors rank them."""

from __future__ import annotations

import hashlib
import json
import math
import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from stmga._version import __version__
from stmga.embedding.embeddings import Embeddings
from stmga.gallery.gallery import Gallery
from stmga.gallery.matches import GalleryError, Match
from stmga.gallery.topk import ranked
from stmga.utils.files import atomic_path
from stmga.utils.foreign import escaped, open_regular
from stmga.utils.isolation import isolated

KINDS = ("hnsw", "ivf", "ivf-int8")
_FORMAT = "stmga-index"
_ROWS = 1 << 16  # rows handed to FAISS at once
_TRAIN = 64  # training vectors per list
_SEED = 0
_MOST_EFFORT = (1 << 31) - 1  # FAISS has an int
_MARKS = 4  # numbers by which an index file knows a vector again
_ROUNDING = 0.06  # by how much they may differ: vectors may have been rounded to int8 since


class GalleryIndex:
    """Search in a gallery of millions without comparing all of it; needs ``pip install stmga[faiss]``.

    FAISS gives candidates for each query, which are ranked by their exact similarity in the gallery. So the matches
    have the right similarity and order, but FAISS may miss some: measure this with :meth:`recall`. Tracklets that are
    added to the gallery later are added to the index at the next search.

    Args:
        gallery: the gallery to search, which holds the vectors.
        kind: ``"hnsw"`` a graph, fastest to search, slow to build, and a third larger than the vectors; ``"ivf"`` lists
            of similar vectors, fast to build; ``"ivf-int8"`` the same with vectors of a quarter of the size.
        effort: for "hnsw" the number of candidates of a query (default 128), for the others the number of lists that
            are searched (default a sixteenth of them). More finds more, and takes longer.

    Raises:
        ImportError: FAISS is not installed.
        GalleryError: an empty gallery.

    Example:
        >>> items = [{"tracklet": f"{i}"} for i in range(500)]
        >>> gallery = Gallery(Embeddings(torch.randn(500, 16), items, digest="1f0c"))
        >>> query = Embeddings(gallery.embeddings.vectors[7:8], [{"tracklet": "q"}], digest="1f0c")
        >>> GalleryIndex(gallery).search(query, k=1)[0][0].id
        '7'
    """

    def __init__(self, gallery: Gallery, *, kind: str = "ivf", effort: int | None = None) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(map(repr, KINDS))}, got {kind!r}")
        if effort is not None and (type(effort) is not int or not 1 <= effort <= _MOST_EFFORT):
            raise ValueError(f"effort must be a whole number from 1 to {_MOST_EFFORT:,}, got {effort!r}")
        _check_in_memory(gallery)
        if not len(gallery):
            raise GalleryError("the gallery is empty; put embeddings in before it gets an index")
        self.gallery, self.kind, self._changes = gallery, kind, gallery.changes
        self._lock = threading.Lock()
        self._index = _built(gallery, kind)
        self.effort = effort or (128 if kind == "hnsw" else max(1, self._index.nlist // 16))
        self.update()

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def __repr__(self) -> str:
        size = f"{len(self):,} x {self._index.d}"
        return f"GalleryIndex({size}, {self.gallery.model or 'unnamed weights'}, {self.kind}, effort={self.effort})"

    def update(self) -> None:
        """Add what is new in the gallery; :meth:`search` calls it."""
        if self._changes != self.gallery.changes:
            raise GalleryError(
                "tracklets were removed from the gallery, or replaced, since the index was built: build it again"
            )
        with self._lock:
            n = len(self.gallery)
            for start in range(len(self), n, _ROWS):
                self._index.add(_unit(self.gallery.rows(slice(start, min(start + _ROWS, n)))))

    def search(
        self, queries: Embeddings, k: int = 10, *, threshold: float | None = None, other_camera: bool = False
    ) -> list[list[Match]]:
        """As :meth:`Gallery.search`, over the candidates only."""
        return self.gallery.matches(*self.topk(queries, k, threshold=threshold, other_camera=other_camera))

    @isolated
    def topk(
        self, queries: Embeddings, k: int = 10, *, threshold: float | None = None, other_camera: bool = False
    ) -> tuple[Tensor, Tensor]:
        """As :meth:`Gallery.topk`, over the candidates only."""
        self.gallery.check_search(queries, k, threshold)
        self.update()
        k = min(k, len(self))
        wanted = min(len(self), 4 * k + 32)  # its own tracklet and camera are removed later
        if self.kind == "hnsw":
            self._index.hnsw.efSearch = max(self.effort, wanted)
        else:
            self._index.nprobe = min(self.effort, self._index.nlist)
        _, rows = self._index.search(_unit(queries.vectors), wanted)
        found = torch.from_numpy(rows)
        excluded = self.gallery.excluded(queries, found, other_camera=other_camera)
        return ranked(queries.vectors, self.gallery.parts, found.masked_fill(excluded, -1), k, threshold=threshold)

    def recall(self, queries: Embeddings, k: int = 10) -> float:
        """The share, 0..1, of the k matches of the exact search that this index finds, over all queries."""
        _, exact = self.gallery.topk(queries, k)
        _, found = self.topk(queries, k)
        hits = (exact[:, :, None] == found[:, None, :]) & (exact[:, :, None] >= 0)
        return float(hits.any(2).sum() / (exact >= 0).sum().clamp(min=1))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write one safetensors file, whole or not at all. It does not contain the gallery: save that separately."""
        import faiss

        content = torch.from_numpy(faiss.serialize_index(self._index))
        metadata = {
            "format": _FORMAT, "stmga": __version__, "kind": self.kind, "effort": str(self.effort),
            "digest": self.gallery.digest, "count": str(len(self)), "sha256": _sha256(content),
        }  # fmt: skip
        with atomic_path(Path(path)) as temp:
            try:
                save_file({"index": content, "marks": _marks(self.gallery, len(self))}, temp, metadata)
                _sort_header(temp)
            except SafetensorError as error:  # an error of the disk, as safetensors reports it
                raise OSError(str(error)) from error
        return Path(path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], gallery: Gallery) -> GalleryIndex:
        """The index of a file, for the gallery that it was built for, which may have grown.

        FAISS reads the index in C++ and trusts it. The sha256 detects damage but not malice, so load only files that
        you or people you trust have written. For a gallery from elsewhere, build one with ``GalleryIndex(gallery)``.

        Raises:
            FileNotFoundError: no such file.
            GalleryError: it was built for vectors of other weights, for more tracklets than the gallery has, or for
                other tracklets or the same in another order.
            ValueError: the file is damaged, or something else.
        """
        path = Path(path)
        _check_in_memory(gallery)
        if not path.exists():
            raise FileNotFoundError(f"no index file {path}")
        try:
            content, marks, about = _contents(path)
            digest, count = about["digest"], int(about["count"])
            if digest != gallery.digest:
                raise GalleryError(
                    f"{path} was built for vectors of weights {escaped(digest[:12]) or 'unnamed'}, the gallery has "
                    f"those of {gallery.digest[:12] or 'unnamed'}; build it again: GalleryIndex(gallery)"
                )
            if count > len(gallery):
                raise GalleryError(
                    f"{path} was built for {count:,} tracklets, the gallery has {len(gallery):,}; "
                    "build it again: GalleryIndex(gallery)"
                )
            if (row := _first_other(marks, gallery, count)) is not None:
                raise GalleryError(
                    f"{path} was built for other vectors: that of {gallery.items[row]['tracklet']!r}, row {row} of the "
                    "gallery, is not the one it has there; build it again: GalleryIndex(gallery)"
                )
            index = cls.__new__(cls)
            index.gallery, index.kind, index.effort = gallery, about["kind"], int(about["effort"])
            index._lock, index._changes = threading.Lock(), gallery.changes
            index._index = _deserialized(content, index.kind, gallery.parts[0].dim, count, index.effort)
        except GalleryError:
            raise
        except (SafetensorError, KeyError, RuntimeError, OSError, ValueError, IndexError) as error:
            reason = escaped(str(error), 200)
            raise ValueError(f"{path} is a damaged index ({reason}); build it again: GalleryIndex(gallery)") from error
        return index


def _check_in_memory(gallery: object) -> None:
    if not isinstance(gallery, Gallery):
        raise TypeError(
            f"an index is built for a Gallery in memory, got {type(gallery).__name__}; "
            "Gallery(gallery.embeddings) reads one into memory"
        )


def _contents(path: Path) -> tuple[Tensor, Tensor, dict[str, str]]:
    """The bytes of an index as they were written, the marks of its vectors, and the metadata of its file."""
    open_regular(path).close()
    with safe_open(path, framework="pt") as file:
        about = file.metadata() or {}
        if about.get("format") != _FORMAT:
            raise ValueError("it is not an index; expected a file written by GalleryIndex.save")
        content, marks = file.get_tensor("index"), file.get_tensor("marks")
    if content.dtype != torch.uint8 or content.ndim != 1 or _sha256(content) != about["sha256"]:
        raise ValueError("its bytes are not those that were written")
    if marks.dtype != torch.float32 or marks.shape != (int(about["count"]), _MARKS):
        raise ValueError("it has no marks of its vectors")
    return content, marks, about


def _marks(gallery: Gallery, count: int) -> Tensor:
    """(count 4): each vector of unit length times four fixed vectors of 1 and -1. Other vectors have others."""
    dim = gallery.dim
    bits = np.frombuffer(hashlib.shake_256(b"stmga-index").digest(dim * _MARKS), np.uint8).reshape(dim, _MARKS) & 1
    signs = bits.astype(np.float32) * 2 - 1
    parts = [_unit(gallery.rows(slice(i, min(i + _ROWS, count)))) @ signs for i in range(0, count, _ROWS)]
    return torch.from_numpy(np.concatenate([np.zeros((0, _MARKS), np.float32), *parts]))


def _first_other(marks: Tensor, gallery: Gallery, count: int) -> int | None:
    """The first row whose vector is not the one that an index was built with; None if all are."""
    same = ((marks - _marks(gallery, count)).abs() <= _ROUNDING).all(1)  # false for NaN
    return None if bool(same.all()) else int((~same).nonzero()[0])


def _deserialized(content: Tensor, kind: str, dim: int, count: int, effort: int) -> Any:
    """The FAISS index in the bytes, which must agree with the metadata of the file."""
    import faiss

    if kind not in KINDS or not 1 <= effort <= _MOST_EFFORT or count < 0:
        raise ValueError(f"it says that it is an index of kind {kind!r} and effort {effort}")
    found = faiss.deserialize_index(content.numpy())
    wanted = {"hnsw": faiss.IndexHNSWFlat, "ivf": faiss.IndexIVFFlat, "ivf-int8": faiss.IndexIVFScalarQuantizer}[kind]
    same = found.d == dim and found.ntotal == count and found.metric_type == faiss.METRIC_INNER_PRODUCT
    if not isinstance(found, wanted) or not same:
        raise ValueError(
            f"it holds {type(found).__name__} of {found.ntotal} x {found.d}, not {kind} of {count} x {dim}"
        )
    return found


def _sha256(content: Tensor) -> str:
    return hashlib.sha256(content.numpy().data).hexdigest()


def _built(gallery: Gallery, kind: str) -> Any:
    """An empty index, already trained if it has lists."""
    try:
        import faiss
    except ImportError as error:
        raise ImportError("an index needs FAISS: pip install 'stmga[faiss]'") from error
    n, dim = len(gallery), gallery.parts[0].dim
    if kind == "hnsw":
        index: Any = faiss.index_factory(dim, "HNSW32,Flat", faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 80
        return index
    lists = max(1, min(round(4 * math.sqrt(n)), n // 39))  # FAISS wants 39 vectors to learn a list from
    code = "SQ8" if kind == "ivf-int8" else "Flat"
    index = faiss.index_factory(dim, f"IVF{lists},{code}", faiss.METRIC_INNER_PRODUCT)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(_SEED), dtype=torch.int64, device="cpu")
    some = order[: _TRAIN * lists].sort().values
    index.train(_unit(gallery.rows(some)))
    return index


def _unit(vectors: Tensor) -> np.ndarray:
    """The vectors as FAISS takes them: contiguous float32 of unit length, whose inner product is the cosine."""
    return torch.nn.functional.normalize(vectors.float(), dim=1).contiguous().numpy()


def _sort_header(path: Path) -> None:
    """Sort the header of a safetensors file, since safetensors writes metadata in random order."""
    with open(path, "rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        text = json.dumps(json.loads(file.read(size)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        file.seek(8)
        file.write(text.encode().ljust(size))
