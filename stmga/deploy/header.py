"""The header of an exported file: what it says about itself, as JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from stmga.config import STMGAConfig
from stmga.hub.records import WeightRecord
from stmga.utils.foreign import escaped, parse_json

FORMAT = "stmga-export"
FORMAT_VERSION = 1
LARGEST_FRAME = 8192  # largest height and width of the frames that a file with preprocessing takes
METADATA = "stmga"  # key of the header in the file's metadata


class ExportHeader(NamedTuple):
    """The header of an exported file: its configuration, record and digest."""

    config: STMGAConfig
    record: WeightRecord | None
    frames: tuple[int, int] | None
    digest: str


class HeaderError(ValueError):
    """The file's header was not written by `stmga export`."""


def read_header(path: Path, text: str) -> ExportHeader:
    """The header from its JSON.

    Raises:
        HeaderError: it is missing, damaged, or of a newer version.
    """
    try:
        about = parse_json(text or "null")
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise HeaderError(f"{not_exported(path)}: it does not say what it is")
        writer = escaped(str(about["stmga"]), 40)
        if type(about["format_version"]) is not int or about["format_version"] > FORMAT_VERSION:
            raise HeaderError(f"{path} comes from the newer stmga {writer}")
        config = STMGAConfig.from_dict(about["config"], written_by=writer)
        record, frames, digest = about["record"], about["frames"], about["digest"]
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            raise ValueError("its digest is not a sha256")
        if frames is not None and not (
            len(frames) == 2 and all(type(n) is int and 1 <= n <= LARGEST_FRAME for n in frames)
        ):
            raise ValueError("its frames are no (height, width)")
        return ExportHeader(
            config,
            WeightRecord.from_json(json.dumps(record)) if record is not None else None,
            (frames[0], frames[1]) if frames is not None else None,
            digest,
        )
    except (KeyError, TypeError, IndexError, ValueError) as error:
        if isinstance(error, HeaderError):
            raise
        raise HeaderError(f"{not_exported(path)}, got one that is not whole ({escaped(repr(error), 300)})") from error


def not_exported(path: Path) -> str:
    """The beginning of an error about a file that is none of ours."""
    return f"{path} is not an exported file; expected one written by `stmga export`"
