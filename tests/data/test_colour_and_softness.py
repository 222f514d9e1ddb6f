"""Hue and saturation against colorsys, softening against Pillow's own JPEG, and both inside Imitation."""

import colorsys
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from stmga.data import Imitation
from stmga.data.augment import uniform
from stmga.data.colour import shift_colour
from stmga.data.softening import LEAST, QUALITY, compress, soften


def smooth(b=1, t=1, h=64, w=48, seed=0):
    """Clips with large and small structures in all colours, 0.1 to 0.9."""
    generator = torch.Generator().manual_seed(seed)
    coarse, fine = (torch.rand(b * t, 3, h // s, w // s, generator=generator) for s in (16, 4))
    both = 0.7 * F.interpolate(coarse, (h, w), mode="bicubic") + 0.3 * F.interpolate(fine, (h, w), mode="bilinear")
    return (0.1 + 0.8 * both.clamp(0, 1)).view(b, t, 3, h, w)


def one(colour):
    return torch.tensor(colour).view(1, 1, 3, 1, 1)


def shifted(colour, turn=0.0, saturation=1.0):
    return shift_colour(one(colour), torch.tensor([turn]), torch.tensor([saturation])).flatten()


def test_no_turn_and_no_factor_change_nothing():
    clips = smooth(2, 3)
    torch.testing.assert_close(shift_colour(clips, torch.zeros(2), torch.ones(2)), clips, rtol=0, atol=1e-6)


def test_luma_stays_and_no_saturation_is_grey():
    luma = torch.tensor([0.299, 0.587, 0.114])
    colour = torch.tensor([0.6, 0.4, 0.3])
    grey = shifted(colour.tolist(), saturation=0.0)
    torch.testing.assert_close(grey, (luma @ colour).expand(3), rtol=0, atol=1e-3)
    for turn in (0.1, -0.2, 0.4):
        assert luma @ shifted(colour.tolist(), turn) == pytest.approx(float(luma @ colour), abs=1e-3)


@pytest.mark.parametrize("colour", [(0.6, 0.4, 0.4), (0.4, 0.6, 0.45), (0.45, 0.45, 0.6)])
def test_the_hue_turns_one_way_by_about_what_is_asked_and_saturation_scales(colour):
    hue, saturation, _ = colorsys.rgb_to_hsv(*colour)
    found = colorsys.rgb_to_hsv(*shifted(colour, turn=-0.05).tolist())[0]
    assert (found - hue) % 1 == pytest.approx(0.05, abs=0.02)  # red to yellow to green
    weaker = colorsys.rgb_to_hsv(*shifted(colour, saturation=0.5).tolist())
    assert weaker[1] == pytest.approx(saturation / 2, rel=0.15) and weaker[0] == pytest.approx(hue, abs=1e-3)


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_compression_is_what_a_jpeg_file_does(quality):
    clip = smooth(seed=quality)
    pixels = (clip[0, 0] * 255).round().byte().permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2)
    expected = np.asarray(Image.open(file)).astype(float)
    found = compress(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255, quality)
    found = found[0].permute(1, 2, 0).numpy() * 255
    lost = np.abs(expected - pixels).mean()
    assert np.abs(found - expected).mean() < 0.6 * lost  # nearer to the file than to the original
    assert np.abs(found - pixels).mean() == pytest.approx(lost, rel=0.15)


def test_sides_that_are_no_multiple_of_16_keep_their_size_and_their_picture():
    clip = smooth(h=64, w=48)[0, ..., :50, :21]
    out = compress(clip, 95)
    assert out.shape == clip.shape
    assert (out - clip).abs().mean() < 0.01


def test_fewer_pixels_leave_less_detail():
    clip = smooth(h=64, w=48)[0]
    detail = lambda x: (x[..., 1:] - x[..., :-1]).abs().mean()  # noqa: E731
    left = [detail(soften(clip, share, 95)) / detail(clip) for share in (1.0, 0.25, 0.06)]
    assert left[0] > 0.9 > left[1] > left[2] > 0.1


def test_imitation_softens_as_often_as_asked_and_leaves_the_other_clips_alone():
    clips = smooth(60, 1, h=16, w=16)
    draws = uniform(range(60), Imitation.numbers(1))
    changed = (Imitation(soften=0.4)(clips, draws) != clips).flatten(1).any(1)
    assert 14 <= changed.sum() <= 34
    assert (Imitation(soften=1.0)(clips, draws) != clips).flatten(1).any(1).all()
    assert 0 < LEAST < 1 <= QUALITY[0] < QUALITY[1] <= 100


def test_the_effects_that_were_there_before_keep_their_numbers():
    """Numbers of new effects come after those of the frames, so a seed gives the drift that it always gave."""
    clips, draws = smooth(4, 3), uniform(range(4), Imitation.numbers(3))
    assert np.array_equal(draws[:, :27], uniform(range(4), 27))
    moved = Imitation(drift=0.1)(clips, draws)
    coloured = Imitation(drift=0.1, saturation=0.5)(clips, draws)
    assert not torch.equal(moved, coloured)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)
    torch.testing.assert_close((moved * luma).sum(2), (coloured * luma).sum(2), rtol=0, atol=2e-3)
