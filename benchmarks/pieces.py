"""A saved network as half-precision pieces of at most 16 MiB, and back.

    python benchmarks/pieces.py split RUN/last -o PIECES
    python benchmarks/pieces.py join PIECES -o OUT

A piece is a safetensors file with some of the tensors; index.json holds the sha256 of each, and the record of the
weights. OUT is a saved network for `stmga train --from`, `stmga eval` and STMGA.from_pretrained: the network rounded to
half precision, as `save_pretrained(half=True)` writes it.
"""

import argparse
import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from stmga import STMGA, WeightRecord, hub
from stmga.hub.records import WeightsError
from stmga.hub.state import from_bytes, to_bytes
from stmga.utils.files import atomic_write

MIB = 1024 * 1024
INDEX = "index.json"
HEADER = 256  # bytes of a tensor's entry in the header of a safetensors file, at most, and of the rest of it
FORMAT = 1


class PiecesError(ValueError):
    """Pieces that are missing, changed, or do not fit together; the message names them."""


def split(weights: str | Path, folder: str | Path, *, most: int = 16 * MIB) -> dict:
    """Write a saved network into ``folder`` in pieces of at most ``most`` bytes; gives the content of its index.

    The pieces carry their digest in their name, and the index comes last: until then the set before it stays whole.

    Raises:
        WeightsError: no saved network, or its bytes are not those of its record.
        PiecesError: a row of a tensor is larger than a piece.
        OSError: it cannot be written; the set before it is untouched.
    """
    folder = Path(folder)
    model = STMGA.from_pretrained(weights)
    data = to_bytes(model, half=True)
    assert model.record is not None  # it was loaded
    # Scores, thresholds and speed were measured before rounding.
    record = replace(
        model.record,
        sha256=hashlib.sha256(data).hexdigest(),
        file_size=len(data),
        metrics=(),
        calibration=None,
        speed=(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for tensors in _groups(load(data), most):
        piece = save(tensors)
        digest = hashlib.sha256(piece).hexdigest()
        name = f"piece-{digest[:16]}.safetensors"
        atomic_write(folder / name, piece)
        rows.append({"file": name, "bytes": len(piece), "sha256": digest})
    index = {"format": FORMAT, "record": json.loads(record.to_json()), "pieces": rows}
    atomic_write(folder / INDEX, (json.dumps(index, indent=1) + "\n").encode())
    for old in {*folder.glob("piece-*.safetensors"), *folder.glob(".*.tmp")} - {folder / row["file"] for row in rows}:
        old.unlink(missing_ok=True)
    return index


def _groups(tensors: Mapping[str, Tensor], most: int) -> Iterator[dict[str, Tensor]]:
    """Tensors by piece, in order. Each is stored as ``NAME:0``, or by rows as ``NAME:0``, ``NAME:1``.. if too large."""
    group: dict[str, Tensor] = {}
    size = HEADER
    for name, tensor in tensors.items():
        for number, rows in enumerate(_rows(name, tensor, most - 2 * HEADER)):
            if group and size + rows.nbytes + HEADER > most:
                yield group
                group, size = {}, HEADER
            group[f"{name}:{number}"] = rows
            size += rows.nbytes + HEADER
    yield group


def _rows(name: str, tensor: Tensor, most: int) -> tuple[Tensor, ...]:
    if tensor.nbytes <= most:
        return (tensor,)
    rows = most // (tensor.nbytes // len(tensor)) if tensor.ndim else 0
    if rows < 1:
        raise PiecesError(f"{name} has rows of more than {most:,} bytes; ask for larger pieces")
    return tuple(part.contiguous() for part in tensor.split(rows))


def join(folder: str | Path) -> STMGA:
    """The network of the pieces in ``folder``, with its record; every piece is checked against its digest.

    Raises:
        PiecesError: no index, pieces missing or changed (all are named), or together not the network of the record.
    """
    index = _index(Path(folder))
    record = WeightRecord.from_json(json.dumps(index["record"]))
    found: dict[str, dict[int, Tensor]] = defaultdict(dict)
    for data in _verified(Path(folder), index["pieces"]):
        for key, rows in load(data).items():
            name, _, number = key.rpartition(":")
            found[name][int(number)] = rows
    state = {
        name: torch.cat([parts[k] for k in sorted(parts)]) if len(parts) > 1 else parts[0]
        for name, parts in found.items()
    }
    model = from_bytes(save(state), record.config, folder, build=STMGA)
    if hashlib.sha256(to_bytes(model, half=True)).hexdigest() != record.sha256:
        raise PiecesError(f"{folder}: the pieces are whole, but together not the network of {INDEX}; split it again")
    model.record = record
    return model.eval()


def _index(folder: Path) -> dict:
    file = folder / INDEX
    try:
        index = json.loads(file.read_bytes())
        fits = index["format"] == FORMAT and all({"file", "sha256"} <= row.keys() for row in index["pieces"])
    except FileNotFoundError as error:
        raise PiecesError(f"{folder} has no {INDEX}; give the folder that `pieces.py split` wrote") from error
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise PiecesError(f"{file} is damaged ({error}); copy the pieces again") from error
    if not fits or "record" not in index:
        raise PiecesError(f"{file} is not an index of format {FORMAT}; write the pieces again with this version")
    return index


def _verified(folder: Path, rows: list[dict]) -> list[bytes]:
    """The bytes of every piece; one error that names all that are missing or changed."""
    pieces, faults = [], []
    for row in rows:
        file = folder / Path(row["file"]).name
        if not file.is_file():
            faults.append(f"{file.name} is missing")
            continue
        data = file.read_bytes()
        if (digest := hashlib.sha256(data).hexdigest()) != row["sha256"]:
            faults.append(f"{file.name} has sha256 {digest[:16]}.., expected {row['sha256'][:16]}..")
        pieces.append(data)
    if faults:
        raise PiecesError(f"{folder}: {len(faults)} of {len(rows)} pieces: {'; '.join(faults)}. Copy these again")
    return pieces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, source in (("split", "a saved network, as RUN/last"), ("join", "a folder of pieces")):
        add = commands.add_parser(name).add_argument
        add("source", help=source)
        add("-o", "--out", type=Path, required=True)
    args = parser.parse_args()
    try:
        if args.command == "split":
            rows = split(args.source, args.out)["pieces"]
            print(f"{args.out}: {len(rows)} pieces, {sum(row['bytes'] for row in rows) / 1e6:.1f} MB")
            return
        model = join(args.source)
        hub.save(model, args.out, record=model.record, half=True)
        print(f"{args.out}: sha256 {model.record.sha256}")
    except (OSError, PiecesError, WeightsError, SafetensorError) as error:
        raise SystemExit(f"pieces: error: {error}") from error


if __name__ == "__main__":
    main()
