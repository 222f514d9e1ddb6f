"""From tracklets to vectors: the embedder, the networks it takes, and the embeddings it makes."""

from stmga.embedding.comparison import Comparison, compare
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.frame_encoder import FrameEncoder
from stmga.embedding.network import InferenceNetwork, TrackletNetwork

__all__ = [
    "Comparison",
    "Embeddings",
    "FrameEncoder",
    "InferenceNetwork",
    "TrackletEmbedder",
    "TrackletNetwork",
    "compare",
]
