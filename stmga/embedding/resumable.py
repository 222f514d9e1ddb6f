"""Embedding in pieces, by one process or many. Each piece is a file, so that a kill loses no finished piece."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from stmga.embedding.embeddings import Embeddings
from stmga.embedding.views import VIEWS
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.utils.claim import FolderClaim
from stmga.utils.distributed import World, all_gather_objects
from stmga.utils.files import remove_folder
from stmga.utils.lock import output_lock

if TYPE_CHECKING:
    from stmga.embedding.embedder import TrackletEmbedder

logger = logging.getLogger(__name__)

Load = Callable[[Sequence[Tracklet]], Sequence[Tracklet]]
LOADED = 32  # tracklets in memory at once
PIECE = 256  # tracklets in a piece, whatever the number of processes, so that the vectors are the same to the bit


class PiecesError(ValueError):
    """Pieces that belong to something else, or processes that do not compute the same."""


CLAIM = FolderClaim(
    file="about.json",
    what="a folder of pieces",
    other="holds the pieces of another run",
    new="Remove it, or write somewhere else",
    resume="Remove it, or write somewhere else",
    error=PiecesError,
)


def embed_in_pieces(
    embedder: TrackletEmbedder,
    tracklets: Sequence[Tracklet],
    out: str | os.PathLike[str],
    world: World | None = None,
    *,
    name: str = "",
    trust_content: bool = False,
    source: Sequence[Tracklet] | None = None,
    load: Load | None = None,
    write: Callable[[Embeddings, Path], object] = Embeddings.save,
) -> Embeddings | None:
    """Embed into ``out.parts/``, one file of :meth:`Embeddings.save` for each 256 tracklets; then into ``out``.

    Each process of ``world`` computes every ``world.size``-th piece. Existing pieces are not computed again, so the
    same call after a kill resumes. When all are finished, the main process writes ``out`` and removes them.

    Args:
        embedder, tracklets: of one process or of all.
        out: the file of all embeddings.
        world: the processes that share the work.
        name: the model name to record if the weights have none.
        trust_content: compare the contents of files with those of the interrupted run, instead of their paths, sizes
            and modification times; the interrupted run must have set it too.
        source: the tracklets whose files identify the input, where they are not ``tracklets`` themselves.
        load: reads tracklets into memory, 32 at a time, such as :func:`stmga.tracklets.preload.preload`.
        write: writes ``out``.

    Returns:
        All embeddings in the order of the tracklets in the main process; None in the others.

    Raises:
        PiecesError: ``out.parts/`` holds something else, an input file has changed, a piece is missing or damaged, or
            other processes differ.
        OutputBusyError: another process writes ``out``.
        TrackletError: as for the embedder; finished pieces are kept.
        OSError: a file cannot be written.
    """
    world = world or World()
    of_leader = (tracklets if source is None else source) if world.is_main else ()  # only it compares inputs
    inputs = InputRecord(of_leader, contents=trust_content)
    with embedder.fixed_weights():
        return _embed_in_pieces(embedder, tracklets, inputs, Path(out), world, name, load, write)


def _embed_in_pieces(
    embedder: TrackletEmbedder,
    tracklets: Sequence[Tracklet],
    inputs: InputRecord,
    out: Path,
    world: World,
    name: str,
    load: Load | None,
    write: Callable[[Embeddings, Path], object],
) -> Embeddings | None:
    folder = out.with_name(f"{out.name}.parts")
    about = _about(embedder, tracklets)
    _agree(about, all_gather_objects(about))
    if world.is_main:
        out.parent.resolve(strict=True)  # a missing folder is an error, as it is where `out` is written at once
    with output_lock(out) if world.is_main else nullcontext():  # until the pieces are removed
        with CLAIM.hold(folder, about, inputs) if world.is_main else nullcontext():
            all_gather_objects(None)  # the folder exists before any process writes into it
            pieces = [tracklets[start : start + PIECE] for start in range(0, len(tracklets), PIECE)]
            _compute(embedder, folder, pieces, world, load)
            all_gather_objects(None)  # all are done
            if not world.is_main:
                return None
            whole = _joined(folder, pieces)
            if not len(whole):
                raise TrackletError([skip["reason"] for skip in whole.skipped])
            whole.model = whole.model or name
            write(whole, out)
        remove_folder(folder, beside=out)
    return whole


def _compute(
    embedder: TrackletEmbedder, folder: Path, pieces: Sequence[Sequence[Tracklet]], world: World, load: Load | None
) -> None:
    """Compute this process's share of the missing pieces."""
    todo = [i for i in range(len(pieces)) if _read(_file(folder, i), pieces[i]) is None]
    if len(todo) < len(pieces):
        logger.info("%s: %d of %d pieces are there", folder, len(pieces) - len(todo), len(pieces))
    own = todo[world.rank :: world.size]
    with embedder.one_run(tracklet for i in own for tracklet in pieces[i]):
        for i in own:
            few = [pieces[i]] if load is None else [pieces[i][n : n + LOADED] for n in range(0, len(pieces[i]), LOADED)]
            parts = [embedder.embed(part if load is None else load(part)) for part in few]
            Embeddings.concatenate(parts).save(_file(folder, i))


def _about(embedder: TrackletEmbedder, tracklets: Sequence[Tracklet]) -> dict[str, object]:
    """What the vectors depend on, except the input files. A folder of pieces belongs to one such description."""
    digest = hashlib.sha256()
    for tracklet in tracklets:
        row = json.dumps(tracklet.labels() | {"video": None}, default=str, sort_keys=True)  # files have a digest
        digest.update(f"{row} {len(tracklet)}\n".encode(errors="backslashreplace"))
    return {
        "weights": embedder.digest(),
        "tracklets": digest.hexdigest(),
        "count": len(tracklets),
        "precision": embedder.precision,
        "sampling": embedder.sampling,
        **{view: view in embedder.views.marks for view in VIEWS},
        "decode": embedder.decode,
        "batch_size": embedder.batch_size,
        "piece": PIECE,
    }


def _agree(own: dict[str, object], all_of_them: Sequence[dict[str, object]]) -> None:
    for rank, other in enumerate(all_of_them):
        if unlike := [key for key in own if other[key] != own[key]]:
            raise PiecesError(
                f"process {rank} has {_show(other, unlike)}, this one {_show(own, unlike)}: all must be started with "
                "the same weights, tracklets and options"
            )


def _show(about: dict[str, object], keys: Sequence[str]) -> str:
    return ", ".join(f"{key} {str(about.get(key))[:12]}" for key in keys)


def _file(folder: Path, i: int) -> Path:
    return folder / f"{i:06}.safetensors"


def _read(file: Path, piece: Sequence[Tracklet]) -> Embeddings | None:
    """A finished piece; None if it is missing or truncated and must be computed."""
    try:
        found = Embeddings.load(file)
    except FileNotFoundError:
        return None
    except ValueError as error:
        logger.warning("a piece is computed again: %s", error)
        return None
    known = {*found.ids, *(str(skip["tracklet"]) for skip in found.skipped)}
    return found if known == {t.id for t in piece} else None


def _joined(folder: Path, pieces: Sequence[Sequence[Tracklet]]) -> Embeddings:
    found = [_read(_file(folder, i), piece) for i, piece in enumerate(pieces)]
    if lacking := [_file(folder, i).name for i, one in enumerate(found) if one is None]:
        raise PiecesError(
            f"{folder} lacks {len(lacking)} of {len(pieces)} pieces, or they are damaged ({', '.join(lacking[:5])}); "
            "the same command again computes them"
        )
    parts = [one for one in found if one is not None]
    rows = {tracklet.id: tracklet.row() for piece in pieces for tracklet in piece}  # covers are where files are now
    first = next((part for part in parts if len(part)), parts[0])
    return Embeddings(
        torch.cat([part.vectors for part in parts]),
        [item | rows[item["tracklet"]] for part in parts for item in part.items],
        digest=first.digest,
        model=first.model,
        skipped=[skip for part in parts for skip in part.skipped],
        calibration=first.calibration,
    )
