"""From tracklets to vectors: the embedder, its clips, and the embeddings it makes."""

from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.rows import NotFiniteVectorError

__all__ = ["Embeddings", "NotFiniteVectorError", "TrackletEmbedder"]
