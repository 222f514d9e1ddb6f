"""Search for tracklets and persons: exact, in memory, in a file or in LanceDB, and approximate with an index."""

from stmga.gallery.approximate import GalleryIndex
from stmga.gallery.gallery import Gallery
from stmga.gallery.lance_gallery import LanceGallery
from stmga.gallery.matches import Assignment, GalleryError, Match, PersonMatch
from stmga.gallery.sqlite_gallery import SqliteGallery
from stmga.gallery.where import Where

__all__ = [
    "Assignment",
    "Gallery",
    "GalleryError",
    "GalleryIndex",
    "LanceGallery",
    "Match",
    "PersonMatch",
    "SqliteGallery",
    "Where",
]
