"""A ``.pt2`` file, read without running anything in it.

``torch.export.load`` unpickles the members of such a file, evaluates its expressions and runs the functions that its
graph names: whoever wrote the file decides what runs. So this module reads the archive as a zip of tensors and JSON. It
builds the network from the configuration and fills it with the parameters of the file.
"""

from __future__ import annotations

import io
import math
import os
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stmga.config import CUSTOM, STMGAConfig
from stmga.deploy.deployed import Deployed
from stmga.hub.state import check_values
from stmga.model import STMGA
from stmga.utils.foreign import MB, escaped, open_regular, parse_json

JSON_LIMIT = 64 * MB
WEIGHTS = "data/weights/"
HEADER = "extra/stmga"
INPUTS = "data/sample_inputs/model.pt"
# Every member that `stmga export` writes; all else may be compiled code or a pickle.
KNOWN = re.compile(
    r"archive_(format|version)|byteorder|\.data/(version|serialization_id)|\.format_version|\.storage_alignment|version|"
    r"extra/stmga|models/model\.json|data/sample_inputs/model\.pt|data/(weights/weight|constants/tensor)_\d+|"
    r"data/(weights/model_weights|constants/model_constants)_config\.json"
)
DTYPES = {7: torch.float32, 5: torch.int64}  # torch.export's numbers for them


class Archive:
    """The members of a ``.pt2`` file by name; none of them is run.

    Raises:
        ValueError: not such an archive, or one with members that could run code.
        OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                with zipfile.ZipFile(file) as archive:
                    self.members = self._listed(archive, size)
            except (zipfile.BadZipFile, NotImplementedError, EOFError, UnicodeError, RecursionError) as error:
                raise ValueError(f"it is not an archive of torch.export: {escaped(str(error), 200)}") from error

    def _listed(self, archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
        infos = archive.infolist()
        if not infos or sum(info.file_size for info in infos) > size:  # they are stored as they are
            raise ValueError("its members are compressed or overlap, which torch.export writes never")
        folder = infos[0].filename.partition("/")[0]
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            name = info.filename.removeprefix(f"{folder}/")
            if info.compress_type != zipfile.ZIP_STORED or name in members or name == info.filename:
                raise ValueError(
                    f"its member {escaped(info.filename, 80)} is compressed, or stands twice, or has no folder"
                )
            members[name] = info
        return members

    @property
    def header(self) -> str:
        """The text of the file's header; empty if there is none."""
        return self.read(HEADER, JSON_LIMIT).decode("utf-8", "replace") if HEADER in self.members else ""

    def check(self) -> None:
        """Raise ValueError if ``stmga export`` does not write a member, or if it is a pickle that runs code."""
        for name in self.members:
            if not KNOWN.fullmatch(name):
                why = "compiled code, which would run" if name.startswith("data/aotinductor") else "may run code"
                raise ValueError(f"it holds {escaped(name, 80)}: {why}; `stmga export` never writes it")
        if INPUTS in self.members:
            try:
                torch.load(io.BytesIO(self.read(INPUTS, JSON_LIMIT)), weights_only=True, map_location="meta")
            except Exception as error:  # unpickling can raise anything
                raise ValueError(f"its {INPUTS} is a pickle of more than tensors, which could run code") from error
        constants = self.json("data/constants/model_constants_config.json").get("config") or {}
        # Tensors that a network of timm computes when it is built. They are not read: it is built again.
        if not isinstance(constants, dict) or not all(map(_is_plain_tensor, constants.values())):
            raise ValueError("it holds constants that may be pickles and run code; `stmga export` never writes them")

    def read(self, name: str, limit: int) -> bytes:
        """The bytes of a member, at most ``limit``."""
        if name not in self.members:
            raise ValueError(f"it has no {name}")
        info = self.members[name]
        if info.file_size > limit:
            raise ValueError(f"its {name} has {info.file_size:,} bytes, and at most {limit:,} are expected")
        with open_regular(self.path) as file, zipfile.ZipFile(file) as archive:
            try:
                return archive.read(info)
            except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
                raise ValueError(f"its {name} is damaged: {escaped(str(error), 200)}") from error

    def json(self, name: str) -> dict[str, Any]:
        """A JSON member, which must be an object."""
        found = parse_json(self.read(name, JSON_LIMIT))
        if not isinstance(found, dict):
            raise ValueError(f"its {name} is not an object")
        return found


def _is_plain_tensor(entry: object) -> bool:
    return isinstance(entry, dict) and entry.get("use_pickle") is False and bool(entry.get("tensor_meta"))


class CannotRebuildError(ValueError):
    """The file's network has a trunk of its user's own, and only the program in the file can compute it."""


def rebuilt(archive: Archive, config: STMGAConfig, frames: tuple[int, int] | None) -> Deployed:
    """The network of a file: built here, with the parameters that are stored in it.

    Raises:
        CannotRebuildError: a trunk of the user's own.
        ValueError: parameters that do not fit, or values that no training ends with.
    """
    if config.backbone == CUSTOM:
        raise CannotRebuildError(
            f"{archive.path} has a trunk of its author's own, which cannot be built without running the program in the "
            "file. For a file of your own, give trust=True; or export to .onnx, which needs no trust"
        )
    with torch.random.fork_rng(devices=[]):
        network = Deployed(STMGA(config).eval(), frames)
    entries = archive.json(f"{WEIGHTS}model_weights_config.json").get("config")
    wanted = network.state_dict()
    if not isinstance(entries, dict) or entries.keys() != wanted.keys():
        found = set(entries) if isinstance(entries, dict) else set()
        names = ", ".join(escaped(str(name), 60) for name in sorted(found ^ set(wanted))[:3])
        raise ValueError(f"its parameters are not those of its configuration ({names} and so on)")
    state = {name: _tensor(archive, name, entry, wanted[name]) for name, entry in entries.items()}
    check_values({name.removeprefix("model."): tensor for name, tensor in state.items()}, archive.path)
    network.load_state_dict(state)
    return network


def _tensor(archive: Archive, name: str, entry: Any, like: Tensor) -> Tensor:
    """One parameter, which must have the shape and type of ``like``."""
    try:
        meta = entry["tensor_meta"]
        sizes, strides = ([int(n["as_int"]) for n in meta[key]] for key in ("sizes", "strides"))
        offset, kind, member = int(meta["storage_offset"]["as_int"]), DTYPES.get(meta["dtype"]), entry["path_name"]
        if entry["use_pickle"] or kind != like.dtype or sizes != list(like.shape) or not isinstance(member, str):
            raise ValueError(f"it is {'a pickle' if entry['use_pickle'] else f'{kind} {sizes}'}")
        limit = (math.prod(sizes) + offset) * like.element_size() * 2  # strided views may leave some out
        data = archive.read(f"{WEIGHTS}{member}", limit)
        flat = torch.frombuffer(bytearray(data), dtype=kind)
        return flat.as_strided(sizes, strides, offset).clone()
    except (KeyError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        what = f"{str(like.dtype).removeprefix('torch.')} {list(like.shape)}"
        raise ValueError(f"its {name} is not {what}: {escaped(str(error), 200)}") from error
