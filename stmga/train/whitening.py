"""Learned whitening: a linear layer after the BN neck, solved in closed form from labelled tracklets."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stmga.data.benchmark import Benchmark
from stmga.embedding.embedder import Precision, TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.model import STMGA
from stmga.train.result import data_of, derived_record, row_of, start_of, trained_on

PERSONS = 30  # with two tracklets or more; on fewer, the layer made some vectors worse than they were
SHRINKAGE = 3.0


def whiten(
    model: STMGA,
    benchmark: Benchmark,
    *,
    shrinkage: float = SHRINKAGE,
    started_from: str = "",
    precision: Precision = "fp32",
    workers: int = 0,
    progress: bool = False,
) -> STMGA:
    """A copy of the network with a whitening layer for the cameras of ``benchmark.train``. No other weight changes.

    All its tracklets are embedded once, and the layer is solved from their vectors: see :func:`whitening_of`. A layer
    that the network has already is replaced. The record of the copy says what was done. It has no calibration and no
    scores.

    Args:
        model: a trained network, left as it is.
        benchmark: its training tracklets, of several cameras: the layer is to ignore what changes from one to another.
        shrinkage: see :func:`whitening_of`.
        started_from: what the weights are called, if they have no record.
        precision, workers, progress: as in :class:`stmga.TrackletEmbedder`.

    Raises:
        ValueError: fewer than 30 persons with two tracklets, a tracklet without a person, or a shrinkage of 0 or less.
        TrackletError: frames that cannot be read.
    """
    persons = [tracklet.person for tracklet in benchmark.train]
    _check(persons, shrinkage)
    plain = _without(model)
    vectors = TrackletEmbedder(plain, precision=precision, workers=workers, progress=progress)(benchmark.train).vectors
    found, data = with_whitening(plain, whitening_of(vectors, persons, shrinkage=shrinkage)), data_of(benchmark)
    done = row_of_whitening(shrinkage) | {"started from": start_of(model, started_from)}
    found.record = derived_record(found, row_of(found.config, data) | done, trained_on(data), terms=[benchmark.terms])
    return found


def with_whitening(model: STMGA, layer: Tensor) -> STMGA:
    """A copy of the network whose vectors go through this layer (c c), after the one that it may have already."""
    if model.whitening is not None:
        layer = layer.to(model.device) @ model.whitening.weight
    other = copy.deepcopy(model)
    other.config = replace(model.config, whitening=True)
    other.whitening = nn.Linear(model.dim, model.dim, bias=False, device=model.device).requires_grad_(False)
    other.whitening.weight.copy_(layer)
    other.whitening.train(model.training)
    return other


def whitening_of(vectors: Tensor, persons: Sequence[object], *, shrinkage: float = SHRINKAGE) -> Tensor:
    """The layer (c c) that makes vectors of one person spread evenly in all directions.

    With W, the covariance of vectors around the mean of their person, and m, the mean of its eigenvalues, the layer is
    ((W / m + shrinkage I) / (1 + shrinkage))^(-1/2). Directions in which one person varies, from camera to camera and
    from pose to pose, become shorter. From Hatch et al., Within-class covariance normalization for SVM-based speaker
    recognition, Interspeech 2006; in image retrieval Mikolajczyk and Matas, ICCV 2007.

    Args:
        vectors: (n c), of one network.
        persons: who each is.
        shrinkage: how far W is moved towards a multiple of the identity. The larger, the less the layer changes.

    Raises:
        ValueError: fewer than 30 persons with two vectors, a vector of nobody or one that is not finite, a
            shrinkage of 0 or less.

    >>> vectors, persons = torch.eye(2).repeat(60, 1), [i // 2 for i in range(120)]
    >>> whitening_of(vectors, persons).round(decimals=2)  # (1, -1) is within persons, and (1, 1) is the same for all
    tensor([[1.0200, 0.1300],
            [0.1300, 1.0200]])
    """
    number = _check(persons, shrinkage)
    if len(vectors) != len(persons):
        raise ValueError(f"expected a vector for each person given, got {len(vectors):,} for {len(persons):,}")
    if not vectors.isfinite().all():
        raise ValueError("the vectors are not finite (NaN or infinite)")
    x = vectors.detach().to("cpu", torch.float64)
    labels = torch.tensor([number[person] for person in persons], dtype=torch.int64, device="cpu")
    counts = torch.bincount(labels)
    means = torch.zeros(len(number), x.shape[1], dtype=x.dtype, device="cpu").index_add_(0, labels, x)
    away = x - (means / counts[:, None])[labels]
    values, directions = torch.linalg.eigh(away.T @ away)
    if not values[-1] > 0:
        raise ValueError("all vectors of a person are equal: give tracklets that differ, and each once")
    stretched = (values.clamp(min=0) / values.mean() + shrinkage) / (1 + shrinkage)
    return (directions * stretched.rsqrt() @ directions.T).float()


def through(seen: Embeddings, layer: Tensor, digest: str) -> Embeddings:
    """The vectors of ``seen`` through one more layer (c c), as the weights of this digest have them; no calibration."""
    return replace(seen, vectors=F.normalize(seen.vectors @ layer.T, dim=1), digest=digest, calibration=None)


def several(persons: Iterable[object]) -> int:
    """How many persons occur twice or more.

    >>> several([7, 8, 7, 9, 9])
    2
    """
    return sum(count > 1 for count in Counter(persons).values())


def row_of_whitening(shrinkage: float) -> dict[str, str]:
    """What the row of a stage in a record says of it."""
    return {"whitening": f"solved, shrinkage {shrinkage:g}"}


def _check(persons: Sequence[object], shrinkage: float) -> dict[object, int]:
    """The number of each person; ValueError if a layer cannot be solved from them."""
    if not shrinkage > 0:
        raise ValueError(f"shrinkage must be > 0, got {shrinkage:g}")
    if unknown := sum(person is None for person in persons):
        raise ValueError(f"{unknown:,} of {len(persons):,} tracklets have no person: whitening is solved from labels")
    number = {person: i for i, person in enumerate(dict.fromkeys(persons))}
    if (repeated := several(persons)) < PERSONS:
        raise ValueError(
            f"{repeated:,} of {len(number):,} persons have two tracklets or more, and at least {PERSONS} are needed: "
            "with fewer, vectors may get worse"
        )
    return number


def _without(model: STMGA) -> STMGA:
    """A copy of the network without its whitening layer."""
    other = copy.deepcopy(model).eval()
    other.config, other.whitening = replace(model.config, whitening=False), None
    return other
