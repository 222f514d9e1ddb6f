"""The pictures: what they show, where, and what they refuse."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageColor

from stmga.visualize import (
    RIGHT,
    UNKNOWN,
    WRONG,
    Card,
    Curve,
    Panel,
    compared_picture,
    curves_picture,
    part_overlay,
    ranked_picture,
    stack,
    verdict,
)
from stmga.visualize.canvas import cut, font, wrapped
from stmga.visualize.curves import COLOURS

CROP = np.full((128, 64, 3), (250, 250, 120), np.uint8)


def count(image, colour):
    return int((np.asarray(image) == ImageColor.getrgb(colour)).all(-1).sum())


def card(person, similarity=None, picture=CROP):
    return Card(picture=picture, tracklet=f"t{person}", person=person, camera=1, similarity=similarity)


@pytest.mark.parametrize(
    ("query", "match", "colour"), [(1, 1, RIGHT), (1, 2, WRONG), (1, None, UNKNOWN), (None, 1, UNKNOWN)]
)
def test_the_frame_tells_right_from_wrong(query, match, colour):
    image = ranked_picture([card(query)], [[card(match, 0.5)]])
    found = {c: count(image, c) for c in (RIGHT, WRONG, UNKNOWN)}
    assert found.pop(colour) > 1000
    assert set(found.values()) == {0}


def test_verdict():
    assert verdict(card(1), card(1)) is True
    assert verdict(card(1), card(2)) is False
    assert verdict(card(None), card(None)) is None


def test_matches_stand_in_their_order_and_only_the_best():
    matches = [card(1, 0.9), card(2, 0.8), card(2, 0.7), card(1, 0.6)]
    image = ranked_picture([card(1)], [matches], best=3)
    marks = [np.flatnonzero((np.asarray(image) == ImageColor.getrgb(c)).all(-1).any(0)) for c in (RIGHT, WRONG)]
    assert marks[0].max() < marks[1].min()  # one right answer, left of all wrong ones; the fourth is not drawn
    assert image.width == ranked_picture([card(1)], [matches[:3]]).width


def test_rows_of_unequal_length_and_missing_pictures():
    image = ranked_picture([card(1), card(2)], [[card(1, 0.9)], []], title="Two", note="one has nothing")
    assert image.height > ranked_picture([card(1)], [[card(1, 0.9)]]).height
    assert ranked_picture([card(1)], [[]]).width < 120
    blank = ranked_picture([card(1, picture=None)], [[card(1, 0.9, picture=None)]])
    assert count(blank, "#eceff2") > 10_000


def test_a_picture_of_pillow_and_one_of_numpy_are_the_same():
    one = ranked_picture([card(1, picture=Image.fromarray(CROP))], [[]])
    assert np.array_equal(one, ranked_picture([card(1)], [[]]))


def test_the_heat_stands_where_the_attention_is():
    frames = np.full((3, 128, 64, 3), 120, np.uint8)
    attention = np.zeros((3, 2, 16, 8), np.float32)
    attention[2, 1, 12, 6] = 1.0  # third frame, second part, low and to the right
    picture = np.asarray(part_overlay(frames, attention)).astype(int)
    warm = picture[..., 0] - picture[..., 2]
    y, x = np.unravel_index(warm.argmax(), warm.shape)
    height, width, label = 116, 58, 96
    assert 2 * (height + 5) <= y < 3 * (height + 5)
    assert label + 2 * (width + 5) <= x
    assert abs((y - 2 * (height + 5)) / height - 12.5 / 16) < 0.06
    assert abs((x - label - 2 * (width + 5)) / width - 6.5 / 8) < 0.12


def test_the_first_row_shows_the_frames_themselves():
    frames = np.full((2, 116, 58, 3), (10, 200, 30), np.uint8)
    picture = np.asarray(part_overlay(frames, np.random.default_rng(0).random((2, 1, 4, 4))))
    assert (picture[:116, 96 : 96 + 58] == (10, 200, 30)).all()
    assert not (picture[121:, 96 : 96 + 58] == (10, 200, 30)).all(-1).any()


def test_constant_attention_is_drawn_and_does_not_divide_by_zero():
    with np.errstate(all="raise"):
        part_overlay(np.zeros((1, 64, 32, 3), np.uint8), np.full((1, 1, 4, 2), 0.25))


@pytest.mark.parametrize(
    ("frames", "attention", "message"),
    [
        (np.zeros((2, 8, 8, 3)), np.zeros((2, 1, 4, 4)), "uint8 frames"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((2, 1, 4, 4)), r"\(t, h, w, 3\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((3, 1, 4, 4)), r"\(2, n, h, w\) for 2 frames"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 4, 4)), r"\(2, n, h, w\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.zeros((2, 0, 4, 4)), "empty"),
        (np.zeros((2, 8, 8, 3), np.uint8), np.full((2, 1, 4, 4), np.nan), "NaN"),
    ],
)
def test_overlay_refuses(frames, attention, message):
    with pytest.raises(ValueError, match=message):
        part_overlay(frames, attention)


def test_ranked_refuses():
    with pytest.raises(ValueError, match="0 queries"):
        ranked_picture([], [])
    with pytest.raises(ValueError, match="1 queries and 2 lists"):
        ranked_picture([card(1)], [[], []])


def test_stack_puts_pictures_below_and_beside_each_other():
    red, blue = Image.new("RGB", (40, 30), "#ff0000"), Image.new("RGB", (20, 50), "#0000ff")
    below, beside = stack([red, blue]), stack([red, blue], across=True)
    assert below.size == (40, 30 + 20 + 50)
    assert beside.size == (40 + 20 + 20, 50)
    for image in (below, beside, stack([red, blue], title="A title", note="and a note " * 20)):
        assert (count(image, "#ff0000"), count(image, "#0000ff")) == (1200, 1000)
    with pytest.raises(ValueError, match="nothing to stack"):
        stack([])


def test_text_stays_in_its_place():
    small = font(12)
    for text in ("p0012c3t0004", "a/very/long/path/to/one/tracklet", "W" * 200, ""):
        short = cut(text, small, 92)
        assert small.getlength(short) <= 92
        assert short == text or (short[0] == text[0] and short[-1] == text[-1] and "…" in short)
    lines = wrapped("some words that need more than one line of this width", small, 100)
    assert " ".join(lines) == "some words that need more than one line of this width"
    assert len(lines) > 2
    assert all(small.getlength(line) <= 100 for line in lines)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attentions_straight_from_the_network(device, dtype):
    frames = torch.full((2, 64, 32, 3), 120, dtype=torch.uint8, device=device)
    attention = torch.rand(2, 3, 4, 2, device=device, dtype=dtype, requires_grad=True)
    expected = part_overlay(frames.cpu().numpy(), attention.detach().cpu().float().numpy())
    assert np.array_equal(part_overlay(frames, attention), expected)


def test_two_networks_side_by_side():
    """Each in its own columns: the first is wrong and right, the second right and wrong."""
    found = {"baseline": [[card(2, 0.9), card(1, 0.8)]], "ST-MGA": [[card(1, 0.7), card(2, 0.6)]]}
    image = np.asarray(compared_picture([card(1)], found))
    right, wrong = (
        np.flatnonzero((image == ImageColor.getrgb(colour)).all(-1).sum(0) > 100) for colour in (RIGHT, WRONG)
    )
    middle = image.shape[1] // 2
    assert wrong.min() < right.min() < middle < right.max() < wrong.max()
    one = ranked_picture([card(1)], found["baseline"])
    assert image.shape[0] == one.height and image.shape[1] == 2 * one.width - 92
    with pytest.raises(ValueError, match="1 queries and 2 lists of ST-MGA"):
        compared_picture([card(1)], found | {"ST-MGA": [[], []]})
    with pytest.raises(ValueError, match="at least one network"):
        compared_picture([card(1)], {})


def test_a_long_name_of_a_network_stays_over_its_own_columns():
    found = {"a name that is far longer than its one column": [[card(1)]], "b": [[card(1)]]}
    image = np.asarray(compared_picture([card(1)], found)).min(-1)[:16]
    dark = np.flatnonzero((image < 120).any(0))
    assert not ((dark > 92 + 30 + 92) & (dark < 92 + 30 + 92 + 30)).any()


def panel(runs, marked=None):
    return Panel(title="tau", values=[0.01, 0.05, 0.1], curves=[Curve(name="mAP", runs=runs)], marked=marked)


def rows_of(image, colour, left, right):
    """Mean row of the pixels of a colour between two columns, below the legend."""
    part = np.asarray(image).astype(int)[70:, left:right]
    close = (np.abs(part - ImageColor.getrgb(colour)).sum(-1) < 30).nonzero()[0]
    return close.mean() if len(close) else np.nan


def test_higher_figures_are_higher_up_and_in_the_order_of_the_values():
    image = curves_picture([panel([[60.0], [64.0], [62.0]], marked=0.05)])
    first, second, third = (20 + 46 + round((i + 0.5) * 380 / 3) for i in range(3))
    heights = [rows_of(image, COLOURS[0], x - 4, x + 5) for x in (first, second, third)]
    assert heights[1] < heights[2] < heights[0]
    plain = curves_picture([panel([[60.0], [64.0], [62.0]])])
    changed = (np.asarray(image) != np.asarray(plain)).any((0, 2)).nonzero()[0]
    assert abs(changed.mean() - second) < 4  # the mark is at its value


def test_the_range_of_runs_is_drawn_and_a_value_without_runs_is_not():
    spread = curves_picture([panel([[60.0, 66.0], [63.0], []])])
    mean = curves_picture([panel([[63.0], [63.0], []])])
    assert count(spread, COLOURS[0]) > 0 and spread.size == mean.size
    third = 20 + 46 + round(2.5 * 380 / 3)
    assert np.isnan(rows_of(spread, COLOURS[0], third - 20, third + 20))


@pytest.mark.parametrize(
    ("runs", "message"),
    [([[1.0]], "3 values of tau and 1 lists of mAP"), ([[], [], []], "got none"), ([[np.nan], [], []], "finite")],
)
@pytest.mark.filterwarnings("ignore")
def test_curves_refuse(runs, message):
    with pytest.raises(ValueError, match=message):
        curves_picture([panel(runs)])
