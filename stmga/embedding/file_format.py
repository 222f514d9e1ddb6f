"""Safetensors files that state what they are: reading one, and the errors of one that is missing or something else."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from stmga._version import __version__


@dataclass(frozen=True)
class FileFormat:
    """One format of files: what its header and the errors call it.

    ``key`` is the value of "format" in the header, ``version`` the newest version that can be read, ``name`` what
    messages call such a file, ``writer`` what writes one, ``remedy`` what to do about a damaged one.
    """

    key: str
    version: int
    name: str
    writer: str
    remedy: str = ""

    def find(self, path: str | os.PathLike[str]) -> Path:
        """The path, if a file is there; nothing is read.

        Raises:
            FileNotFoundError: there is nothing.
            ValueError: there is a folder.
        """
        path = Path(path)
        if not path.exists():
            raise FileNotFoundError(f"no {self.name} {path}")
        if path.is_dir():
            raise self.wrong(path, "a folder")
        return path

    def read(self, path: str | os.PathLike[str]) -> tuple[dict[str, str], dict[str, Tensor]]:
        """Metadata and tensors, which are mapped into memory and read when they are looked at.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the file is damaged, has another format, or comes from a newer stmga.
        """
        path = self.find(path)
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != self.key:
                    raise self.wrong(path, f"a safetensors file with {', '.join(list(file.keys())[:4])}")
                if int(metadata.get("format_version", "1")) > self.version:
                    raise ValueError(f"{path} comes from the newer stmga {metadata['stmga']}, this is {__version__}")
                return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except (SafetensorError, KeyError) as error:
            raise self.damaged(path, error) from error

    def wrong(self, path: str | os.PathLike[str], got: str) -> ValueError:
        """The error for something else than such a file."""
        return ValueError(f"{path} is not an {self.name}; expected one written by {self.writer}, got {got}")

    def damaged(self, path: str | os.PathLike[str], error: Exception) -> ValueError:
        """The error for a file that cannot be read, or whose content lacks something."""
        return self.wrong(path, f"a damaged or foreign file ({error}){self.remedy and f'; {self.remedy}'}")
