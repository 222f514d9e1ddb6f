"""Search for tracklets and persons: exact, in memory or in a file, and approximate with FAISS."""

from stmga.gallery.approximate import GalleryIndex
from stmga.gallery.gallery import Gallery
from stmga.gallery.matches import Assignment, GalleryError, Match, PersonMatch
from stmga.gallery.sqlite_gallery import SqliteGallery
from stmga.gallery.where import Where

__all__ = ["Assignment", "Gallery", "GalleryError", "GalleryIndex", "Match", "PersonMatch", "SqliteGallery", "Where"]
