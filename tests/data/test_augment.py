"""Augmentation: one decision a clip, from its own draw, and the numbers of ClipTransform where nothing is erased."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga.data import ClipAugment
from stmga.data.augment import _mixed, uniform
from stmga.transforms import ClipTransform

PLAIN = ClipAugment(flip=0.0, erase=0.0)
numbers = st.integers(0, 2**63 - 1)


def bright(b, t, h=32, w=16, seed=0):
    """Noise brighter than the mean of every channel: normalised, it is nowhere 0."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(200, 256, (b, t, 3, h, w), dtype=torch.uint8, generator=generator)


def rectangle_of(erased):
    """(h w) bool -> (top, bottom, left, right) of what must be one full rectangle; None where nothing is erased."""
    if not erased.any():
        return None
    y, x = erased.any(1).nonzero().flatten(), erased.any(0).nonzero().flatten()
    top, bottom, left, right = y[0].item(), y[-1].item() + 1, x[0].item(), x[-1].item() + 1
    assert erased[top:bottom, left:right].all() and erased.sum() == (bottom - top) * (right - left)
    return top, bottom, left, right


@pytest.mark.parametrize("t", [1, 8])
def test_without_flip_and_erasing_it_is_clip_transform_to_the_last_bit(t):
    clips = torch.randint(256, (3, t, 3, 24, 12), dtype=torch.uint8)
    before = clips.clone()
    expected = ClipTransform(size=(24, 12))(clips)
    assert torch.equal(PLAIN(clips, [1, 2, 3]), expected)
    assert torch.equal(clips, before)
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    expected = ClipTransform(size=(24, 12), mean=mean, std=std)(clips)
    assert torch.equal(replace(PLAIN, mean=mean, std=std)(clips, [1, 2, 3]), expected)


def test_flipping_twice_changes_nothing():
    clips = bright(4, 3)
    assert torch.equal(replace(PLAIN, flip=1.0)(clips.flip(-1), range(4)), PLAIN(clips, range(4)))


@given(st.lists(numbers, min_size=1, max_size=6), st.sampled_from([1, 3]))
@settings(deadline=None, max_examples=50)
def test_a_clip_is_mirrored_or_not_and_loses_one_rectangle_in_all_its_frames(draws, t):
    clips = bright(len(draws), t)
    for clip, out in zip(clips, ClipAugment()(clips, draws), strict=True):
        erased = out == 0
        assert (erased == erased[0, 0]).all()  # in all frames and channels alike
        rectangle_of(erased[0, 0])
        plain = PLAIN(clip[None], [0])[0]
        assert any(torch.equal(out, x.masked_fill(erased, 0.0)) for x in (plain, plain.flip(-1)))


@given(st.lists(numbers, min_size=2, max_size=6), st.randoms())
@settings(deadline=None, max_examples=30)
def test_a_clip_does_not_depend_on_its_neighbours(draws, random):
    clips, augment = bright(len(draws), 2), ClipAugment()
    out = augment(clips, torch.tensor(draws))
    order = random.sample(range(len(draws)), len(draws))
    assert torch.equal(augment(clips[order], [draws[i] for i in order]), out[order])
    assert torch.equal(augment(clips[:1], draws[:1]), out[:1])


def test_flip_and_erasing_come_as_often_as_asked_and_independently():
    n = 4000
    clips = torch.full((n, 1, 3, 24, 12), 255, dtype=torch.uint8)
    clips[..., 6:] = 200  # the right half is darker than the left
    for flip, erase in ((0.5, 0.5), (0.2, 0.9)):
        out = ClipAugment(flip=flip, erase=erase, erase_area=(0.1, 0.1))(clips, range(n))[:, 0, 0]
        erased = (out == 0).flatten(1).any(1)
        rows = out.amax(1)  # of each column its brightest, so that a rectangle does not hide it
        flipped = rows[:, -1] > rows[:, 0]
        for share, chance in ((flipped, flip), (erased, erase), (flipped & erased, flip * erase)):
            assert abs(share.double().mean() - chance) < 5 * (chance * (1 - chance) / n) ** 0.5
    assert not (ClipAugment(erase=0.0)(clips, range(n)) == 0).any()
    assert (ClipAugment(erase=1.0)(clips[:500], range(500)) == 0).flatten(1).any(1).all()


def literal_rectangle(rng, h, w, area, aspect):
    """Zhong et al.'s algorithm 1, with ten tries instead of many."""
    for _ in range(10):
        a, r = rng.uniform(*area) * h * w, rng.uniform(*aspect)
        height, width = round((a * r) ** 0.5), round((a / r) ** 0.5)
        if height <= h and width <= w:
            top, left = rng.integers(h - height + 1), rng.integers(w - width + 1)
            return top, top + height, left, left + width
    return None


@pytest.mark.parametrize(("h", "w"), [(64, 32), (32, 64)])
def test_rectangles_are_distributed_as_by_the_loop(h, w):
    n, augment = 1500, ClipAugment(flip=0.0, erase=1.0)
    out = augment(torch.full((n, 1, 3, h, w), 255, dtype=torch.uint8), range(1000, 1000 + n))[:, 0, 0]
    found = np.array([rectangle_of(erased) for erased in out == 0])
    rng = np.random.default_rng(0)
    expected = np.array([literal_rectangle(rng, h, w, augment.erase_area, augment.erase_aspect) for _ in range(n)])

    def numbers(r):
        height, width = r[:, 1] - r[:, 0], r[:, 3] - r[:, 2]
        return np.stack([*r.T, height, width, height * width, height / width], axis=1)

    x, y = numbers(found), numbers(expected)
    assert x[:, 6].min() > 0.01 * h * w and x[:, 6].max() < 0.42 * h * w
    for column in range(x.shape[1]):  # Kolmogorov-Smirnov, at a level of 1e-5
        at = np.unique(np.concatenate([x[:, column], y[:, column]]))
        gap = [np.searchsorted(np.sort(z[:, column]), at, "right") / n for z in (x, y)]
        assert abs(gap[0] - gap[1]).max() < 2.47 * (2 / n) ** 0.5


def test_what_never_fits_is_not_erased_and_what_just_fits_is():
    clips = bright(50, 1, 64, 16)
    wide = ClipAugment(flip=0.0, erase=1.0, erase_area=(0.9, 0.9), erase_aspect=(0.2, 0.3))
    assert torch.equal(wide(clips, range(50)), PLAIN(clips, range(50)))
    whole = replace(wide, erase_area=(1.0, 1.0), erase_aspect=(4.0, 4.0))
    assert (whole(clips, range(50)) == 0).all()


def test_the_random_numbers_are_splitmix64s_and_even():
    # Vigna's generator from state 1234567, as in the tests of several implementations of it.
    state = np.uint64(1234567) + np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert _mixed(state).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    u = uniform(range(2**40, 2**40 + 20_000), 24)  # neighbouring draws, as a sampler gives them
    assert u.min() >= 0 and u.max() < 1
    for column in u.T:
        counts = np.histogram(column, 20, (0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 60  # chi square with 19 degrees: 4e-6
    both = np.corrcoef(np.concatenate([u[:-1], u[1:]], axis=1).T)
    assert abs(both - np.eye(48)).max() < 5.5 / np.sqrt(len(u))


def test_lists_tensors_and_arrays_of_draws_are_the_same():
    draws = [0, 5, 2**63 - 1]
    clips = bright(3, 1)
    out = ClipAugment()(clips, draws)
    assert torch.equal(ClipAugment()(clips, torch.tensor(draws)), out)
    assert torch.equal(ClipAugment()(clips, np.array(draws)), out)


@pytest.mark.cuda
def test_a_gpu_does_the_same_and_is_not_waited_for():
    clips, draws = bright(64, 2), list(range(64))
    augment = ClipAugment()
    there = clips.cuda()
    augment(there, draws)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = augment(there, draws)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = augment(clips, draws)
    assert torch.equal(out.cpu() == 0, expected == 0)
    assert torch.allclose(out.cpu(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(flip=1.5), "flip is a chance in 0..1, got 1.5"),
        (dict(erase=-0.1), "erase is a chance in 0..1, got -0.1"),
        (dict(erase_area=(0.4, 0.02)), "erase_area must be"),
        (dict(erase_area=(0.4, 2)), "most <= 1, got"),
        (dict(erase_aspect=(0, 1)), "erase_aspect must be"),
        (dict(std=(0.2, 0.2, 0.0)), "std positive"),
        (dict(mean=(0.2,)), "must be 3 numbers"),
    ],
)
def test_a_setting_out_of_its_range_is_an_error(changes, message):
    with pytest.raises(ValueError, match=message):
        ClipAugment(**changes)


def test_clips_or_draws_that_do_not_fit_are_errors():
    with pytest.raises(ValueError, match=r"expected uint8 clips \(b, t, 3, h, w\), got torch.float32"):
        ClipAugment()(bright(2, 1).float(), [1, 2])
    with pytest.raises(ValueError, match=r"of shape \(2, 3, 32, 16\)"):
        ClipAugment()(bright(2, 1)[:, 0], [1, 2])
    with pytest.raises(ValueError, match="one draw for each of 2 clips, got 3"):
        ClipAugment()(bright(2, 1), [1, 2, 3])
