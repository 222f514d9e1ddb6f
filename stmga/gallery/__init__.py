"""Search for tracklets and persons: exact, in memory, in a file or in LanceDB, and approximate with an index."""

from typing import TYPE_CHECKING, Any

from stmga.gallery.approximate import GalleryIndex
from stmga.gallery.gallery import Gallery
from stmga.gallery.matches import Assignment, GalleryError, Match, PersonMatch
from stmga.gallery.sqlite_gallery import SqliteGallery
from stmga.gallery.where import Where

if TYPE_CHECKING:
    from stmga.gallery.lance_gallery import LanceGallery

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


def __getattr__(name: str) -> Any:  # imported when first asked for: few galleries are in LanceDB
    if name != "LanceGallery":
        raise AttributeError(f"module 'stmga.gallery' has no attribute {name!r}")
    from stmga.gallery.lance_gallery import LanceGallery

    return LanceGallery
