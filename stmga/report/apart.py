"""Which identities were kept apart because one camera saw both at the same time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stmga.embedding.embeddings import Embeddings
from stmga.people.identities import Membership
from stmga.people.unlabelled import seen_together


def kept_apart(
    rows: Sequence[Membership], embeddings: Embeddings, of_tracklets: Sequence[int], of_identities: Sequence[int]
) -> tuple[list[bool], list[bool]]:
    """Whether one camera saw a tracklet, or an identity, at the same time as a tracklet of another identity.

    Args:
        rows: of the tracklets of ``embeddings``.
        of_tracklets: the number of the other identity, by row.
        of_identities: the same for each identity, in the order of their numbers.

    >>> import torch
    >>> items = [{"tracklet": t, "camera": 1, "time": 5.0, "end_time": 9.0} for t in "ab"]
    >>> rows = [Membership(identity=i, tracklet=t, confidence=0.5) for i, t in enumerate("ab", start=1)]
    >>> kept_apart(rows, Embeddings(torch.eye(2), items, digest="1f0c"), [2, 1], [2, 1])
    ([True, True], [True, True])
    """
    numbers, which = np.unique([row.identity for row in rows], return_inverse=True)
    tracklets, identities = np.zeros(len(rows), bool), np.zeros(len(numbers), bool)
    first, second = seen_together(embeddings)
    for one, other in ((first, second), (second, first)):
        seen = numbers[which[other]]
        tracklets[one[seen == np.array(of_tracklets)[one]]] = True
        identities[which[one[seen == np.array(of_identities)[which[one]]]]] = True
    return tracklets.tolist(), identities.tolist()
