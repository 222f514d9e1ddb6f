"""Which frames a training clip takes: the three cases of D38, and the pieces of D41."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stmga.data import cut_pieces, train_clip

small = st.integers(1, 12)


@given(st.integers(1, 300), small, small, st.integers(0, 2**63 - 1))
def test_a_clip_keeps_to_its_rule(frames, length, stride, seed):
    clip = train_clip(frames, length, stride, np.random.default_rng(seed))
    assert len(clip) == length and clip == sorted(clip) and clip[0] >= 0 and clip[-1] < frames
    assert all(type(i) is int for i in clip)
    if frames >= length * stride:
        assert np.diff(clip).tolist() == [stride] * (length - 1)
    elif frames >= length:
        assert len(set(clip)) == length
    assert clip == train_clip(frames, length, stride, np.random.default_rng(seed))


@pytest.mark.parametrize(("frames", "starts"), [(32, range(4)), (33, range(5)), (40, range(12))])
def test_the_starts_of_the_paper_are_0_to_n_minus_29_and_equally_likely(frames, starts):
    rng = np.random.default_rng(0)
    found = np.bincount([train_clip(frames, 8, 4, rng)[0] for _ in range(4000)])
    assert len(found) == len(starts)
    expected = 4000 / len(starts)
    assert (abs(found - expected) < 5 * np.sqrt(expected)).all()


def test_31_frames_are_too_few_to_stride_and_every_frame_comes_up():
    rng = np.random.default_rng(0)
    clips = [train_clip(31, 8, 4, rng) for _ in range(500)]
    assert {i for clip in clips for i in clip} == set(range(31))
    assert any(set(np.diff(clip)) != {4} for clip in clips)


def test_too_few_frames_repeat_at_random():
    rng = np.random.default_rng(0)
    counts = np.sum([np.bincount(train_clip(3, 8, 4, rng), minlength=3) for _ in range(1000)], axis=0)
    assert (abs(counts - 8000 / 3) < 5 * np.sqrt(8000 / 3)).all()
    assert train_clip(1, 8, 4, rng) == [0] * 8


@given(st.integers(1, 500), st.integers(0, 80))
def test_the_pieces_hold_every_frame_once(frames, step):
    pieces = cut_pieces(frames, step)
    assert [i for piece in pieces for i in piece] == list(range(frames))
    if step == 0 or frames < step:
        assert len(pieces) == 1
    else:
        assert [len(piece) for piece in pieces[:-1]] == [step] * (len(pieces) - 1)
        assert step <= len(pieces[-1]) < 2 * step


@pytest.mark.parametrize("numbers", [(0, 8, 4), (8, 0, 4), (8, 8, 0)])
def test_no_frames_length_or_stride_is_an_error(numbers):
    with pytest.raises(ValueError, match="at least 1, got"):
        train_clip(*numbers, np.random.default_rng(0))


def test_no_frames_or_a_negative_step_is_an_error():
    for frames, step in ((0, 4), (4, -1)):
        with pytest.raises(ValueError, match=f"got {frames} and {step}"):
            cut_pieces(frames, step)
