"""What galleries outside of memory share: what is kept beside the vectors, and what may be added to them."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.same_weights import require_same_weights
from stmga.gallery.matches import GalleryError
from stmga.gallery.person_gallery import PersonGallery
from stmga.utils.foreign import parse_json


class StoredGallery(PersonGallery):
    """A gallery that says of all its vectors which weights made them, and what their similarities mean."""

    @abstractmethod
    def _about(self) -> Mapping[str, str]:
        """``digest``, ``model`` and ``calibration``, each "" while it is not known; see :func:`about_vectors`."""

    @property
    @abstractmethod
    def _place(self) -> str:
        """Where it is, for messages."""

    @property
    def digest(self) -> str:
        """Of the weights that made the vectors; "" while nothing was added."""
        return self._about()["digest"]

    @property
    def model(self) -> str:
        """Their name, for people."""
        return self._about()["model"]

    @property
    def calibration(self) -> Calibration | None:
        """What the similarities mean: the calibration of the embeddings that were added first with one."""
        text = self._about()["calibration"]
        try:
            return Calibration.from_dict(parse_json(text)) if text else None
        except ValueError as error:
            raise GalleryError(f"{self._place} has a calibration that cannot be used: {error}") from error

    def _require_same(self, embeddings: Embeddings, that: str) -> None:
        """Raise GalleryError for other weights, or another calibration."""
        require_same_weights(self, embeddings, "the gallery's vectors", that, error=GalleryError)
        ours, theirs = self.calibration, embeddings.calibration
        if ours is not None and theirs is not None and ours.to_dict() != theirs.to_dict():
            what = "have another calibration than the gallery"
            raise GalleryError(f"{that} {what}; calibrate both on the same tracklets")


def about_vectors(embeddings: Embeddings) -> dict[str, str]:
    """What is kept beside the vectors, as text."""
    known = embeddings.calibration
    return {
        "digest": embeddings.digest,
        "model": embeddings.model.encode(errors="backslashreplace").decode(),
        "calibration": "" if known is None else json.dumps(known.to_dict()),
    }
