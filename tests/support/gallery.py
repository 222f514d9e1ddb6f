"""Galleries of random vectors, and the plain way to search in them."""

from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F

from stmga import STMGA, Embeddings
from stmga.calibration import Calibration, Threshold
from tests.support.embedder import TINY, build

DIGEST = "1f0c"


def calibration(known: float = 0.8, new: float = 0.4) -> Calibration:
    points = tuple(
        Threshold(false_match_rate=rate, similarity=similarity, true_match_rate=0.5)
        for rate, similarity in ((1e-2, new), (1e-4, known))
    )
    return Calibration(
        thresholds=points, lower=0.2, impostor_pairs=10**5, genuine_pairs=90, persons=40, digest=DIGEST, data="site"
    )


def embeddings(items: list[dict], seed: int = 0, dim: int = 8, **known) -> Embeddings:
    """Random unit vectors for these items."""
    vectors = torch.randn(len(items), dim, generator=torch.Generator().manual_seed(seed))
    return Embeddings(F.normalize(vectors, dim=1), items, DIGEST, **known)


def person_scores(query: torch.Tensor, rows: list[tuple[str, torch.Tensor]], how: str) -> dict[str, float]:
    """Similarity to each person, from (person, vector) pairs, one after the other."""
    found: dict[str, list[torch.Tensor]] = {}
    for person, vector in rows:
        found.setdefault(person, []).append(vector.double())
    scores = {}
    for person, vectors in found.items():
        cosines = sorted((float(query.double() @ vector) for vector in vectors), reverse=True)
        upper = cosines[: (len(cosines) + 1) // 2]
        mean = F.normalize(torch.stack(vectors).sum(0), dim=0)
        scores[person] = {
            "best": cosines[0], "mean": float(query.double() @ mean), "robust": sum(upper) / len(upper),
        }[how]  # fmt: skip
    return scores


def calibrated(folder: Path, known: float, new: float) -> STMGA:
    """A tiny network that was saved, with its thresholds, in ``folder``."""
    model = build(TINY)
    model.save_pretrained(folder)
    model = STMGA.from_pretrained(folder)
    assert model.record is not None
    record = replace(model.record, calibration=replace(calibration(known, new), digest=model.digest()))
    model.save_pretrained(folder, record=record)
    return STMGA.from_pretrained(folder)
