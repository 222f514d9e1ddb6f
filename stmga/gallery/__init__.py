"""Search for tracklets and persons: exact in memory or on disk, approximate with FAISS."""

from stmga.gallery.approximate import GalleryIndex
from stmga.gallery.gallery import Gallery
from stmga.gallery.matches import Assignment, GalleryError, Match, PersonMatch
from stmga.gallery.where import Where

__all__ = ["Assignment", "Gallery", "GalleryError", "GalleryIndex", "Match", "PersonMatch", "Where"]
