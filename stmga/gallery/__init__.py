"""Search: exact in memory or on disk, approximate with FAISS."""

from stmga.gallery.approximate import GalleryIndex
from stmga.gallery.gallery import Gallery, GalleryError
from stmga.gallery.match import Match

__all__ = ["Gallery", "GalleryError", "GalleryIndex", "Match"]
