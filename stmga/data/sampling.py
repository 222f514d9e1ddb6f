"""P x K batches: P identities with K tracklets each, the same whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from stmga.utils.text import preview

_PASSES, _DRAWS = 1, 2  # purposes of a random stream


class PKSampler(Sampler[list[tuple[int, int]]]):
    """Batches of ``p`` distinct identities with ``k`` tracklets each, for ``DataLoader(batch_sampler=...)`` (D40).

    In every pass the m tracklets of an identity are split at random into max(1, m // k) groups of k. The remaining
    m % k are not used in this pass. With m < k, the single group has every tracklet k // m or k // m + 1 times. A pass
    has as many batches of p distinct identities as these groups can make, the same number every time. Groups that
    cannot fill a batch are not used either: those of an identity beyond one per batch, then fewer than p at random.

    Each step yields a list of ``(row, draw)``, grouped by identity: the row in ``persons``, and a number that seeds the
    random numbers of the loader. A draw is unique among all positions, steps and epochs of a seed. Of ``world``
    processes, the one with ``rank`` gets the rank-th p / world identities; together they get what a single process
    would. The result depends only on seed, epoch and step. There is no state, so iterating twice gives the same.

    Args:
        persons: the identity of every row; 7 and "7" are the same.
        p, k: identities, and tracklets of each, in the batch of all processes together.
        seed: determines the batches.
        rank, world: rank of this process, and the number of processes.
        steps: batches in an epoch. Default: one pass. Otherwise passes continue across the ends of epochs.
        cameras: the camera of every row. The k tracklets of an identity then come from as many cameras as possible.

    Raises:
        ValueError: fewer identities than ``p`` or than 2, a row without one, ``p`` that ``world`` does not divide, or a
            number out of its range.

    >>> persons = ["ann", "ann", "bob", "bob", "bob", "eve"]
    >>> sampler = PKSampler(persons, p=3, k=2)
    >>> len(sampler), [sorted(persons[row] for row, _ in batch) for batch in sampler]
    (1, [['ann', 'ann', 'bob', 'bob', 'eve', 'eve']])
    """

    def __init__(
        self,
        persons: Sequence[str | int],
        *,
        p: int,
        k: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        steps: int | None = None,
        cameras: Sequence[object] | None = None,
    ) -> None:
        _check_numbers(p, k, seed, rank, world, steps)
        self.rows = _rows_by_identity(persons)
        self.cameras = cameras
        if len(self.rows) < max(p, 2):
            count = (
                f"only {len(self.rows)} identit{'y' if len(self.rows) == 1 else 'ies'}: {preview(self.rows) or 'none'}"
            )
            if len(self.rows) < 2:
                raise ValueError(f"{count}; distinguishing persons needs at least 2")
            raise ValueError(
                f"{count}; a batch of p={p} distinct ones needs more: use persons={len(self.rows)} or fewer"
            )
        self.p, self.k, self.seed, self.rank, self.world = p, k, seed, rank, world
        self._groups = np.array([max(1, len(rows) // k) for rows in self.rows.values()])
        self._per_pass = _most_batches(self._groups, p)
        self.steps = self._per_pass if steps is None else steps
        self._first_draw = int(np.random.SeedSequence([_DRAWS, seed]).generate_state(1, np.uint64)[0])
        self.set_epoch(0)

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Set the next epoch and its first step; ``start`` skips earlier batches, as after an interruption.

        Raises ValueError for a negative epoch, or a start that is not a step of an epoch (its end is allowed).
        """
        if epoch < 0 or not 0 <= start <= self.steps:
            raise ValueError(f"expected epoch >= 0 and 0 <= start <= {self.steps} steps, got {epoch} and {start}")
        self.epoch, self.start = epoch, start

    def __len__(self) -> int:
        """Batches in a whole epoch, even if the next one starts in its middle."""
        return self.steps

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        share = self.p * self.k // self.world
        mine = range(self.rank * share, (self.rank + 1) * share)
        number, batches = -1, np.empty(0)
        for step in range(self.epoch * self.steps + self.start, (self.epoch + 1) * self.steps):
            if step // self._per_pass != number:
                number = step // self._per_pass
                batches = self._pass(number)
            rows = batches[step % self._per_pass]
            first = self._first_draw + step * self.p * self.k
            yield [(int(rows[position]), (first + position) % 2**63) for position in mine]

    def _pass(self, number: int) -> np.ndarray:
        """Pass `number` over the tracklets, from the first of the first epoch: rows (batches, p k)."""
        rng = np.random.default_rng([_PASSES, self.seed, number])
        every = zip(self.rows.values(), self._groups, strict=True)
        groups = [_cut(rng, rows, self.k, n, self.cameras) for rows, n in every]
        batches = _schedule(rng, self._groups, self.p, self._per_pass)
        used = np.zeros(len(groups), dtype=int)
        out = np.empty((len(batches), self.p, self.k), dtype=int)
        for batch, identities in zip(out, batches, strict=True):
            batch[:] = [groups[i][used[i]] for i in identities]
            used[identities] += 1
        return out.reshape(len(batches), -1)


def _rows_by_identity(persons: Sequence[str | int]) -> dict[str, list[int]]:
    unknown = [row for row, person in enumerate(persons) if person is None]
    if unknown:
        raise ValueError(f"rows {preview(unknown)} have no person; leave out tracklets of unknown persons")
    rows: dict[str, list[int]] = {}
    for row, person in enumerate(persons):
        rows.setdefault(str(person), []).append(row)
    return {person: rows[person] for person in sorted(rows)}


def _cut(
    rng: np.random.Generator, rows: list[int], k: int, groups: int, cameras: Sequence[object] | None
) -> np.ndarray:
    """Groups of k of one identity's rows (groups, k); too few rows are repeated, all as often as possible."""
    shuffled = rng.permutation(rows)
    if len(rows) < k:
        shuffled = rng.permutation(np.resize(shuffled, k))
    if cameras is not None:
        return _across(shuffled, groups, k, cameras)
    return shuffled[: groups * k].reshape(groups, k)


def _across(rows: np.ndarray, groups: int, k: int, cameras: Sequence[object]) -> np.ndarray:
    """Groups of k rows (groups, k), each of as many cameras as possible; rows of frequent cameras are left out first.

    >>> _across(np.array([4, 3, 2, 1, 0]), 2, 2, ["a", "a", "a", "b", "c"])
    array([[4, 2],
           [3, 1]])
    """
    by_camera: dict[object, list[int]] = {}
    for row in rows.tolist():
        by_camera.setdefault(cameras[row], []).append(row)
    while sum(map(len, by_camera.values())) > groups * k:
        max(by_camera.values(), key=len).pop()
    # Dealt out like cards: one camera after another, each row to the next group.
    return np.array([row for own in by_camera.values() for row in own]).reshape(k, groups).T


def _most_batches(groups: np.ndarray, p: int) -> int:
    """The most batches of p distinct identities that these numbers of groups can make.

    b batches can be made exactly if the identities, none used more than b times, have p b groups.

    >>> _most_batches(np.array([5, 1, 1]), 2), _most_batches(np.array([2, 2, 2]), 2)
    (2, 3)
    """
    low, high = 1, int(groups.sum()) // p
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(groups, middle).sum() >= p * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _schedule(rng: np.random.Generator, groups: np.ndarray, p: int, batches: int) -> list[np.ndarray]:
    """Identities of each batch, p distinct ones at random, so that all batches get full: (p,) each."""
    left = _keep(rng, np.minimum(groups, batches), p * batches)
    plan = []
    for remaining in range(batches, 0, -1):
        # Systematic sampling: every identity is taken with probability left / remaining, at most 1. So an identity with
        # a group for every remaining batch is always taken, and all are spread evenly over the pass.
        order = rng.permutation(len(left))
        marks = rng.integers(remaining) + remaining * np.arange(p)
        chosen = order[np.searchsorted(left[order].cumsum(), marks, side="right")]
        left[chosen] -= 1
        plan.append(rng.permutation(chosen))
    return plan


def _keep(rng: np.random.Generator, groups: np.ndarray, total: int) -> np.ndarray:
    """The numbers of groups that stay when `total` of them are kept at random."""
    kept = rng.permutation(np.repeat(np.arange(len(groups)), groups))[:total]
    return np.bincount(kept, minlength=len(groups))


def _check_numbers(p: int, k: int, seed: int, rank: int, world: int, steps: int | None) -> None:
    if p < 1 or k < 1:
        raise ValueError(f"p and k must be at least 1, got p={p} and k={k}")
    if steps is not None and steps < 1:
        raise ValueError(f"steps must be at least 1, or None for one pass over the tracklets, got {steps}")
    if seed < 0 or not 0 <= rank < world:
        raise ValueError(f"expected seed >= 0 and 0 <= rank < world, got seed={seed}, rank={rank}, world={world}")
    if p % world:
        below, above = p - p % world, p + world - p % world
        advice = f"persons={below} or persons={above}" if below else f"persons={above}"
        raise ValueError(f"{world} processes cannot share p={p} identities equally; use {advice}")
