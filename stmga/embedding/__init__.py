"""From tracklets to vectors: the embedder, the networks it takes, and the embeddings it makes."""

from typing import TYPE_CHECKING

from stmga.embedding.comparison import Comparison, compare
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.network import InferenceNetwork, TrackletNetwork
from stmga.utils.lazy import imported_later

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
__getattr__ = imported_later(__name__, {"FrameEncoder": "stmga.embedding.frame_encoder"})
