"""From tracklets to vectors: the embedder, the networks it takes, and the embeddings it makes."""

from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.network import InferenceNetwork, TrackletNetwork

__all__ = ["Embeddings", "InferenceNetwork", "TrackletEmbedder", "TrackletNetwork"]
