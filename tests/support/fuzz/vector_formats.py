"""Fuzzing of files of vectors: embeddings, and indexes of galleries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from hypothesis import strategies as st

from stmga import Embeddings, Gallery
from stmga.calibration import Calibration, Threshold
from stmga.gallery import GalleryError
from stmga.gallery.approximate import KINDS, GalleryIndex
from tests.support.fuzz.formats import Example, Format
from tests.support.fuzz.mutations import changed_bytes, changed_json, changed_safetensors

DIGEST = "d" * 64


def some(count: int, dim: int) -> Embeddings:
    vectors = torch.nn.functional.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(0)))
    items = [{"tracklet": f"t{i}", "person": i // 2, "camera": i % 2, "cover": "1.jpg"} for i in range(count)]
    points = tuple(
        Threshold(false_match_rate=rate, similarity=least, true_match_rate=0.9)
        for rate, least in ((1e-2, 0.6), (1e-3, 0.7))
    )
    calibration = Calibration(
        thresholds=points, lower=0.2, impostor_pairs=500, genuine_pairs=40, persons=20, digest=DIGEST, data="walkers",
        roc=((0.7, 0.001, 0.9), (0.6, 0.01, 0.9)),
    )  # fmt: skip
    skipped = [{"tracklet": "s", "reason": "too short"}]
    return Embeddings(vectors, items, DIGEST, "some.weights", skipped, calibration)


def replaced(path: Path, data: bytes) -> Path:
    """A new file of that name: an old one may still be mapped into memory."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    return path


class EmbeddingsFiles(Format):
    """Files of `Embeddings.save`, read as embeddings, as a gallery, and searched in."""

    name = "embeddings"
    errors = (ValueError, GalleryError)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.valid = some(6, 4)
        self.seeds = [
            self.valid.save(folder / kind, storage=kind).read_bytes() for kind in ("float32", "float16", "int8")
        ]

    def examples(self) -> st.SearchStrategy[Example]:
        pool = [DIGEST, "2", "3", "F16", [6], [4, 6], [6, 4], [0, 4], [6, 0]]
        damaged = st.sampled_from(self.seeds).flatmap(lambda data: changed_safetensors(data, pool))
        texts = st.sampled_from(self.seeds).flatmap(self._other_texts)
        return st.tuples(st.just("e.safetensors"), damaged | texts)

    def _other_texts(self, data: bytes) -> st.SearchStrategy[bytes]:
        """A sound safetensors file with other rows or another calibration."""
        size = int.from_bytes(data[:8], "little")
        header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
        start, end = header["rows"]["data_offsets"]

        def with_rows(text: bytes) -> bytes:
            entry = header["rows"] | {"shape": [len(text)], "data_offsets": [start, start + len(text)]}
            assert end == len(body)  # rows come last: bytes have the smallest numbers
            return _safetensors(header | {"rows": entry}, body[:start] + text)

        def with_calibration(text: str) -> bytes:
            return _safetensors(header | {"__metadata__": header["__metadata__"] | {"calibration": text}}, body)

        rows, known = json.loads(body[start:end]), json.loads(header["__metadata__"]["calibration"])
        encoded = changed_json(rows, rows["items"]).map(lambda text: text.encode("utf-8", "surrogatepass"))
        return st.one_of(
            encoded.map(with_rows),
            encoded.flatmap(changed_bytes).map(with_rows),
            changed_json(known).map(with_calibration),
        )

    def read(self, kind: str, data: bytes) -> tuple[Embeddings, Gallery]:
        path = replaced(self.folder / kind, data)
        return Embeddings.load(path), Gallery.load(path)

    def use(self, found: Any) -> None:
        """They are printed, saved, read back and searched in."""
        embeddings, gallery = found
        repr(embeddings), repr(gallery)
        again = Embeddings.load(embeddings.save(self.folder / "again"))
        assert torch.equal(again.vectors, embeddings.vectors) and again.items == embeddings.items
        if len(gallery):
            gallery.save(self.folder / "gallery")
            for matches in gallery.search(embeddings, 3):
                repr(matches)


def _safetensors(header: dict[str, Any], body: bytes) -> bytes:
    text = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + body


class Index(Format):
    """Files of `GalleryIndex.save`. The bytes inside are FAISS's, known by their sha256: other bytes are refused."""

    name = "index"
    errors = (ValueError, GalleryError)

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.embeddings = some(80, 8)
        self.gallery = Gallery(self.embeddings)
        saved = [GalleryIndex(self.gallery, kind=kind).save(folder / kind) for kind in KINDS]
        saved.append(GalleryIndex(Gallery(some(80, 4)), kind="hnsw").save(folder / "other"))
        self.seeds = [path.read_bytes() for path in saved]

    def examples(self) -> st.SearchStrategy[Example]:
        pool = [*KINDS, DIGEST, "80", "81", "-1", "0", "1" * 30, "1.5", "1_0", " 80", "٣"]
        return st.tuples(
            st.just("i.safetensors"), st.sampled_from(self.seeds).flatmap(lambda data: changed_safetensors(data, pool))
        )

    def read(self, kind: str, data: bytes) -> GalleryIndex:
        return GalleryIndex.load(replaced(self.folder / kind, data), self.gallery)

    def use(self, found: Any) -> None:
        repr(found)
        assert len(found.search(self.embeddings.select([0, 1]), 3)) == 2
        found.save(self.folder / "again")
