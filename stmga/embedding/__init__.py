"""From tracklets to vectors: the embedder, the networks it takes, and the embeddings it makes."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stmga.embedding.comparison import Comparison, compare
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.network import InferenceNetwork, TrackletNetwork

if TYPE_CHECKING:
    from stmga.embedding.frame_encoder import FrameEncoder

__all__ = [
    "Comparison",
    "Embeddings",
    "FrameEncoder",
    "InferenceNetwork",
    "TrackletEmbedder",
    "TrackletNetwork",
    "compare",
]
_LATER = {"FrameEncoder": "stmga.embedding.frame_encoder"}  # imported when first asked for


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'stmga.embedding' has no attribute {name!r}")
