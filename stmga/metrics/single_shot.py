"""Single-shot scores: a gallery of one random tracklet of each person, averaged exactly over all such galleries."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stmga.metrics.matching import NOBODY, MatchRules
from stmga.metrics.ranking import NoMatchError, RankScores, average_precision
from stmga.utils.arrays import to_numpy

Floats = NDArray[np.float64]


def single_shot_scores(blocks: Iterable[Any], answers: MatchRules, *, ap: str = "hits") -> RankScores:
    """Blocks ``(b, g)`` of similarities, all rows in order -> the mean scores over all galleries that can be drawn.

    In each gallery, every person has one of their entries in the query's list, drawn with equal chances; an entry
    without a person always stays. No gallery is drawn here: each other person comes before the drawn match with a
    known chance, independent of the others, so the distribution of the match's rank is computed exactly. The mean over
    a finite number of draws, as CUHK03's classic protocol takes it, approaches these scores.

    Raises:
        NoMatchError: no query that counts.
    """
    groups = _groups(answers.gallery.persons)
    chances = np.zeros(int(groups.max(initial=-1)) + 1)  # of each rank (from 0), summed over the queries
    unmatched: list[int] = []
    query = 0
    for block in blocks:
        for row in to_numpy(block):
            right, removed = answers.of(query)
            if len(right):
                row = np.array(row, dtype=np.float64)
                row[removed] = np.nan
                chances += match_chances(row, right, groups)
            else:
                unmatched.append(query)
            query += 1
    counted = query - len(unmatched)
    if not counted:
        raise NoMatchError(f"none of the {query} queries has a match in the gallery, so there is nothing to score")
    chances /= counted
    precision = np.array([average_precision([rank], ap=ap) for rank in range(len(chances))])
    return RankScores(
        mAP=float(chances @ precision),
        cmc=tuple(np.minimum(np.cumsum(chances), 1.0).tolist()),
        mINP=float(chances @ (1 / np.arange(1, len(chances) + 1))),
        queries=counted,
        matches=1.0,
        unmatched=tuple(unmatched),
    )


def match_chances(row: Floats, right: NDArray[np.int64], groups: NDArray[np.int64]) -> Floats:
    """The chance of each rank (from 0) of the one match, over all draws of one entry per group.

    Args:
        row: similarities ``(g,)``; NaN is not in the list.
        right: the correct entries, of which one is drawn.
        groups: the group of each entry, from 0; groups are the persons.

    >>> match_chances(np.array([0.9, 0.5, 0.7, 0.1]), np.array([0, 1]), np.array([0, 0, 1, 1]))
    array([0.75, 0.25])
    """
    count, columns = int(groups.max()) + 1, np.arange(len(row))
    sizes = np.maximum(np.bincount(groups[~np.isnan(row)], minlength=count), 1)
    ahead = np.stack(
        [
            np.bincount(groups[(row > row[c]) | ((row == row[c]) & (columns < c))], minlength=count) / sizes
            for c in right.tolist()
        ]
    )  # for each match that may be drawn: the chance that each group's entry comes before it
    ahead[:, groups[right[0]]] = 0
    certain = (ahead == 1).sum(1)
    ahead[ahead == 1] = 0
    found = np.zeros(count)
    several = ahead[:, ahead.any(0)]
    for first, chances in zip(certain.tolist(), _sums(several), strict=True):
        found[first : first + len(chances)] += chances[: count - first] / len(right)
    return found


def _sums(chances: Floats) -> Floats:
    """``(m, k)`` chances of independent events -> ``(m, k + 1)``: the chance that 0, 1, ..., k of them happen."""
    total = np.zeros((len(chances), chances.shape[1] + 1))
    total[:, 0] = 1
    for event in chances.T[..., None]:
        more = total[:, :-1] * event
        total *= 1 - event
        total[:, 1:] += more
    return total


def _groups(persons: NDArray[np.int64]) -> NDArray[np.int64]:
    """Persons as numbers from 0; each entry without a person is a group of its own."""
    alone = persons == NOBODY
    own = persons.copy()
    own[alone] = persons.max(initial=0) + 1 + np.arange(int(alone.sum()))
    return np.unique(own, return_inverse=True)[1].astype(np.int64)
