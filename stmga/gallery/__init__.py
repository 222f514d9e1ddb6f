"""Search for tracklets and persons: exact, in memory, in a file or in LanceDB, and approximate with an index."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stmga.gallery.approximate import GalleryIndex
from stmga.gallery.gallery import Gallery
from stmga.gallery.matches import Assignment, GalleryError, Match, PersonMatch
from stmga.gallery.where import Where

if TYPE_CHECKING:
    from stmga.gallery.lance_gallery import LanceGallery
    from stmga.gallery.sqlite_gallery import SqliteGallery

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


# Imported when first asked for, so that `import stmga` stays fast.
_LATER = {"LanceGallery": "stmga.gallery.lance_gallery", "SqliteGallery": "stmga.gallery.sqlite_gallery"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'stmga.gallery' has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
