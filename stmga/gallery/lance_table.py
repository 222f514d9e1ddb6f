"""The table of a gallery in LanceDB: its columns, and writes that leave nothing of what was removed."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

from stmga._version import __version__
from stmga.gallery.matches import GalleryError
from stmga.utils.foreign import escaped
from stmga.utils.lock import OutputBusyError, output_lock

logger = logging.getLogger(__name__)

TABLE = "tracklets"
VECTOR = "vector"
_FORMAT, _FORMAT_VERSION = "stmga-gallery", 1
_WAIT = 5.0  # seconds for another writer


class LanceTable:
    """One table in a folder or at an address.

    A change is one commit of LanceDB. To remove rows, the table is written again without them, and all older versions
    and all files that no version uses are deleted: a deleted row of LanceDB stays in its file. The table notes the
    version that was written last in this way, so that a writer who was killed before the files were deleted is noticed.
    """

    def __init__(
        self,
        place: str | os.PathLike[str],
        *,
        read_only: bool = False,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        lancedb = _lancedb()
        self.place, self.read_only = os.fspath(place), read_only
        self.local = "://" not in self.place
        if self.place.startswith("db://"):
            raise ValueError(
                f"{self.place} is a service; expected a folder, or object storage such as s3://bucket/name"
            )
        if self.local:
            self._check_folder(Path(self.place))
        with self.errors():
            self.db = lancedb.connect(self.place, storage_options=dict(storage_options or {}))
        if (table := self.open()) is None and read_only:
            raise GalleryError(f"{self.place} is not a gallery; leave out read_only to make one")
        if not read_only and (self._temporary() or (table is not None and _has_remains(table))):
            with self.writing() as mine:
                if self._temporary() or (mine is not None and _has_remains(mine)):  # not of a writer that has ended now
                    logger.warning(
                        "%s: the last change was not finished; what it removed is deleted now", escaped(self.place)
                    )
                    self.sweep(mine)

    def _temporary(self) -> list[Path]:
        """Files that a killed writer had begun; LanceDB itself never deletes them."""
        return [file for file in Path(self.place).rglob(".tmp*") if file.is_file()] if self.local else []

    def _check_folder(self, folder: Path) -> None:
        if folder.exists() and not folder.is_dir():
            raise GalleryError(f"{folder} is a file; a gallery in LanceDB is a folder")
        if folder.is_dir() and any(not f.name.startswith(".") for f in folder.iterdir()):
            if not (folder / f"{TABLE}.lance").is_dir():
                raise GalleryError(f"{folder} is not a gallery; expected a new folder, or one made by Gallery.open")
        elif self.read_only:
            raise GalleryError(f"there is no gallery {folder}; leave out read_only to make one")
        else:
            folder.mkdir(parents=True, exist_ok=True)

    def open(self) -> Any:
        """The table as it is now: a snapshot; None before anything was added."""
        with self.errors():
            try:
                table = self.db.open_table(TABLE)
            except ValueError as error:  # as LanceDB says that there is no such table
                if self.local and any(Path(self.place, f"{TABLE}.lance").glob("_versions/*.manifest")):
                    raise GalleryError(f"{self.place} is damaged: {escaped(str(error), 200)}") from error
                return None
            _check_schema(table.schema, self.place)
            return table

    @contextmanager
    def errors(self) -> Iterator[None]:
        """What LanceDB raises, as errors of a gallery."""
        import pyarrow as pa

        try:
            yield
        except GalleryError:
            raise
        except (RuntimeError, OSError, pa.ArrowException) as error:
            reason = escaped(str(error), 300)
            raise GalleryError(
                f"{escaped(self.place)} cannot be used ({reason}); it is damaged, not reachable, or was changed by "
                "another process meanwhile: then try again"
            ) from error

    @contextmanager
    def writing(self) -> Iterator[Any]:
        """The table, for the only writer. In object storage there is no lock: see that one process writes."""
        if self.read_only:
            raise GalleryError(f"{self.place} was opened with read_only=True and cannot be changed")
        try:
            with self.errors(), output_lock(self.place, wait=_WAIT) if self.local else nullcontext():
                yield self.open()
        except GalleryError as error:
            if isinstance(error.__cause__, OutputBusyError):
                raise GalleryError(f"{self.place} is being written by another process; try again") from error.__cause__
            raise

    def create(self, rows: Any) -> None:
        """The table with its first rows, in one commit."""
        self.db.create_table(TABLE, rows)

    def rewrite(self, table: Any, schema: Any, batches: Iterator[Any]) -> Any:
        """All rows again, in one commit; then nothing of the older ones is left. ``batches`` may read ``table``."""
        import pyarrow as pa

        schema = schema.with_metadata({**schema.metadata, b"rewritten": str(table.version + 1).encode()})
        reader = pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in batches))
        fresh = self.db.create_table(TABLE, reader, schema=schema, mode="overwrite")
        self.sweep(fresh)
        return fresh

    def sweep(self, table: Any) -> None:
        """Delete all versions but the last, and all files that it does not use; for the one writer."""
        for file in self._temporary():
            file.unlink()
        if table is None:
            return
        for _ in range(3):  # a clean-up may itself end with a new version
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)  # about processes that read an older version
                table.optimize(cleanup_older_than=timedelta(0), delete_unverified=True)
            table.checkout_latest()
            if not _has_remains(table):
                return
        raise GalleryError(f"{self.place}: old versions could not be deleted; open the gallery again to try again")


def schema_of(dim: int, about: Mapping[str, str]) -> Any:
    """The columns of a gallery whose vectors have ``dim`` numbers; ``about`` is kept as metadata."""
    import pyarrow as pa

    metadata = {"format": _FORMAT, "format_version": str(_FORMAT_VERSION), "stmga": __version__, **about}
    columns = {
        "row": pa.int64(), "tracklet": pa.string(), "person": pa.string(), "camera": pa.string(),
        "time": pa.float64(), "end_time": pa.float64(), "item": pa.string(), VECTOR: pa.list_(pa.float32(), dim),
    }  # fmt: skip
    return pa.schema(list(columns.items()), metadata=metadata)


def about_of(table: Any) -> dict[str, str]:
    """What a table says of all its vectors; of a checked table."""
    if table is None:
        return {"digest": "", "model": "", "calibration": ""}
    return {key.decode(): value.decode() for key, value in table.schema.metadata.items()}


def dim_of(table: Any) -> int:
    """Length of a vector; 0 without a table."""
    return 0 if table is None else int(table.schema.field(VECTOR).type.list_size)


def _check_schema(schema: Any, place: str) -> None:
    """GalleryError for a table of something else, or of a newer stmga."""
    try:
        about = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
        if about.get("format") != _FORMAT:
            raise GalleryError(f"{place} is not a gallery; expected a folder made by Gallery.open")
        if int(about["format_version"]) > _FORMAT_VERSION:
            raise GalleryError(f"{place} comes from the newer stmga {escaped(about['stmga'], 40)}")
        found, dim = {field.name: field.type for field in schema}, getattr(schema.field(VECTOR).type, "list_size", 0)
        wanted = {field.name: field.type for field in schema_of(dim, {})}
        if found != wanted or not {"digest", "model", "calibration"} <= set(about):
            raise GalleryError(f"{place} is damaged: its columns are not those of a gallery")
        int(about.get("rewritten", "0"))
    except (KeyError, ValueError) as error:
        if isinstance(error, GalleryError):
            raise
        raise GalleryError(f"{place} is damaged: {escaped(str(error), 200)}") from error


def _has_remains(table: Any) -> bool:
    """Whether there are versions from before the table was last written as a whole."""
    first = int(table.schema.metadata.get(b"rewritten", b"0"))
    return any(version["version"] < first for version in table.list_versions())


def _lancedb() -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise ImportError("a gallery in LanceDB needs it: pip install 'stmga[lance]'") from error
    return lancedb
