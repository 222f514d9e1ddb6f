"""P x K batches: their contents, their split over ranks, and that they depend only on seed, epoch and step."""

from collections import Counter
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga.data import PKSampler

sizes = st.lists(st.integers(1, 9), min_size=4, max_size=9)  # tracklets of each identity
numbers = st.integers(0, 2**40)


def persons_of(counts, seed=0):
    rows = [f"person {i}" for i, count in enumerate(counts) for _ in range(count)]
    return np.random.default_rng(seed).permutation(rows).tolist()


def epochs_of(sampler, *epochs):
    batches = []
    for epoch in epochs:
        sampler.set_epoch(epoch)
        batches += list(sampler)
    return batches


def rows_of(batches):
    return [[row for row, _ in batch] for batch in batches]


def together(lists):
    return list(chain.from_iterable(lists))


@given(sizes, st.integers(1, 4), st.integers(1, 5), numbers, st.integers(0, 50))
@settings(deadline=None)
def test_a_batch_has_p_distinct_identities_with_k_tracklets_each(counts, p, k, seed, epoch):
    persons = persons_of(counts)
    have = Counter(persons)
    sampler = PKSampler(persons, p=p, k=k, seed=seed)
    batches = rows_of(epochs_of(sampler, epoch))
    assert len(batches) == len(sampler)
    for batch in batches:
        groups = [batch[i : i + k] for i in range(0, p * k, k)]
        owners = [{persons[row] for row in group} for group in groups]
        assert len(batch) == p * k and all(len(owner) == 1 for owner in owners)
        assert len(set.union(*owners)) == p
        for group, (owner,) in zip(groups, owners, strict=True):
            times = Counter(group).values()
            if have[owner] >= k:
                assert max(times) == 1
            else:  # each as equally often as possible
                assert len(times) == have[owner] and max(times) - min(times) <= 1


@given(sizes, st.integers(1, 4), st.integers(1, 5), numbers)
@settings(deadline=None)
def test_in_one_pass_no_tracklet_comes_in_two_groups(counts, p, k, seed):
    persons = persons_of(counts)
    have = Counter(persons)
    for row, times in Counter(together(rows_of(PKSampler(persons, p=p, k=k, seed=seed)))).items():
        assert times <= max(1, -(-k // have[persons[row]]))


@given(sizes, st.integers(1, 4), st.integers(1, 3))
@settings(deadline=None)
def test_a_pass_has_as_many_batches_as_can_be_made(counts, p, k):
    left = [max(1, count // k) for count in counts]
    most = 0
    while sum(n > 0 for n in left) >= p:  # taking always from those that have most left wastes least
        left.sort(reverse=True)
        left[:p] = [n - 1 for n in left[:p]]
        most += 1
    assert len(PKSampler(persons_of(counts), p=p, k=k)) == most


@pytest.mark.parametrize("world", [2, 4])
@pytest.mark.parametrize("steps", [None, 7])
def test_the_ranks_together_have_the_batch_of_one_process(world, steps):
    persons = persons_of([1, 2, 3, 4, 5, 6, 7, 8, 9, 30])
    one = epochs_of(PKSampler(persons, p=8, k=3, seed=5, steps=steps), 0, 3)
    ranks = [
        epochs_of(PKSampler(persons, p=8, k=3, seed=5, steps=steps, rank=rank, world=world), 0, 3)
        for rank in range(world)
    ]
    assert {len(batch) for rank in ranks for batch in rank} == {24 // world}
    assert [together(parts) for parts in zip(*ranks, strict=True)] == one


def test_seed_and_epoch_decide_and_nothing_else():
    persons = persons_of([4] * 8)
    sampler = PKSampler(persons, p=4, k=2, seed=1)
    first = list(sampler)
    assert list(sampler) == first
    other = epochs_of(sampler, 1)
    assert rows_of(other) != rows_of(first)
    assert epochs_of(sampler, 0) == first
    assert epochs_of(PKSampler(persons, p=4, k=2, seed=1), 1) == other
    assert rows_of(PKSampler(persons, p=4, k=2, seed=2)) != rows_of(first)


@given(st.integers(0, 12), st.integers(0, 4), st.one_of(st.none(), st.integers(12, 20)))
@settings(deadline=None)
def test_an_epoch_resumed_in_its_middle_gives_its_tail(start, epoch, steps):
    sampler = PKSampler(persons_of([6] * 8), p=4, k=2, steps=steps)
    start = min(start, len(sampler))
    whole = epochs_of(sampler, epoch)
    sampler.set_epoch(epoch, start)
    assert list(sampler) == whole[start:]
    assert len(sampler) == len(whole)


def test_no_draw_comes_twice():
    sampler = PKSampler(persons_of([6] * 8), p=4, k=2, steps=9)
    draws = [draw for batch in epochs_of(sampler, *range(40)) for _, draw in batch]
    assert len(set(draws)) == len(draws) == 40 * 9 * 8
    assert min(draws) >= 0 and max(draws) < 2**63
    other = PKSampler(persons_of([6] * 8), p=4, k=2, steps=9, seed=1)
    assert not set(draws) & {draw for batch in other for _, draw in batch}


@pytest.mark.parametrize("steps", [1, 3, 5, 40])
def test_the_length_of_an_epoch_only_says_where_the_row_of_passes_is_cut(steps):
    persons = persons_of([2, 3, 4, 5, 6, 7])
    passes = rows_of(epochs_of(PKSampler(persons, p=3, k=2), *range(40)))
    epochs = rows_of(epochs_of(PKSampler(persons, p=3, k=2, steps=steps), *range(3)))
    assert len(epochs) == 3 * steps and epochs == passes[: 3 * steps]


def test_over_many_epochs_the_tracklets_of_an_identity_come_equally_often():
    persons = persons_of([1, 3, 5, 5, 5, 7])
    used = Counter(together(rows_of(epochs_of(PKSampler(persons, p=4, k=2, seed=3), *range(1500)))))
    for person in set(persons):
        times = np.array([used[row] for row, owner in enumerate(persons) if owner == person])
        # A tracklet is in a pass or not, so its count varies no more than a Poisson variable.
        assert (abs(times - times.mean()) < 5 * np.sqrt(times.mean())).all()


def test_equal_identities_are_all_used_in_every_pass_that_leaves_nothing_over():
    sampler = PKSampler(persons_of([4] * 8), p=4, k=2)
    for epoch in range(5):
        assert sorted(together(rows_of(epochs_of(sampler, epoch)))) == list(range(32))


def test_identities_come_in_every_place_of_the_batch_equally_often():
    persons = persons_of([2] * 6)
    counts = np.zeros((3, 6))
    for batch in rows_of(epochs_of(PKSampler(persons, p=3, k=2), *range(1000))):
        for place in range(3):
            counts[place, int(persons[batch[2 * place]].split()[1])] += 1
    assert (abs(counts - 2000 / 6) < 5 * np.sqrt(2000 / 6)).all()


def test_an_identity_with_many_tracklets_is_spread_evenly_over_the_pass():
    persons = ["many"] * 16 + [f"person {i}" for i in range(40) for _ in range(2)]
    sampler = PKSampler(persons, p=4, k=2)
    assert len(sampler) == 12  # 48 groups, 8 of them of one identity
    there = np.zeros(12)
    for epoch in range(600):
        there += [any(row < 16 for row in batch) for batch in rows_of(epochs_of(sampler, epoch))]
    assert there.sum() == 600 * 8
    assert (abs(there / 600 - 8 / 12) < 5 * (2 / 9 / 600) ** 0.5).all()


def test_numbers_and_texts_name_the_same_identity():
    assert list(PKSampler([7, "8", "7", 8], p=2, k=2)) == list(PKSampler(["7", "8", "7", "8"], p=2, k=2))


@pytest.mark.parametrize(
    ("persons", "changes", "message"),
    [
        (["a", "b", "b"], dict(p=3), "only 2 identities: a, b; a batch of p=3 .* use persons=2 or fewer"),
        (["a", "a"], dict(p=1), "only 1 identity: a; .* at least 2"),
        ([], dict(p=1), "only 0 identities: none"),
        (["a", None, "b", None], dict(), "rows 1, 3 have no person"),
        (["a", "b"], dict(p=0), "p=0 and k=2"),
        (["a", "b"], dict(k=0), "p=2 and k=0"),
        (["a", "b"], dict(steps=0), "steps must be at least 1"),
        (["a", "b"], dict(seed=-1), "seed=-1"),
        (["a", "b"], dict(rank=2, world=2), "rank=2, world=2"),
        (["a", "b", "c"], dict(p=3, world=2), "2 processes cannot share p=3 .* use persons=2 or persons=4"),
        (["a", "b", "c"], dict(p=1, world=2), "use persons=2$"),
    ],
)
def test_what_cannot_be_sampled_says_what_to_type(persons, changes, message):
    with pytest.raises(ValueError, match=message):
        PKSampler(persons, **{"p": 2, "k": 2, **changes})


def test_an_epoch_or_a_start_that_is_none_is_an_error():
    sampler = PKSampler(["a", "b"], p=2, k=2)
    for epoch, start in ((-1, 0), (0, 2), (0, -1)):
        with pytest.raises(ValueError, match=f"0 <= start <= 1 steps, got {epoch} and {start}"):
            sampler.set_epoch(epoch, start)


def test_with_cameras_the_tracklets_of_a_person_come_from_as_many_as_possible():
    """Three of five tracklets are of camera a; every pair of one person then has two cameras."""
    persons = [person for person in "pqrs" for _ in range(5)]
    cameras = ["a", "a", "a", "b", "c"] * 4
    mixed = PKSampler(persons, p=4, k=2, steps=50, cameras=cameras)
    for batch in mixed:
        rows = [row for row, _ in batch]
        for first, second in zip(rows[::2], rows[1::2], strict=True):
            assert persons[first] == persons[second]
            assert cameras[first] != cameras[second]
    plain = PKSampler(persons, p=4, k=2, steps=50)
    pairs = [(batch[i][0], batch[i + 1][0]) for batch in plain for i in range(0, 8, 2)]
    assert any(cameras[a] == cameras[b] for a, b in pairs)
