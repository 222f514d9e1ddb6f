"""From tracklets to vectors: the embedder, its clips, and the embeddings it makes."""

from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings

__all__ = ["Embeddings", "TrackletEmbedder"]
