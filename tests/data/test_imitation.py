"""Imitation of video: each effect against a literal computation; a clip depends only on its own numbers."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stmga.data import ClipAugment, Imitation
from stmga.data.augment import uniform

ALL = dict(drift=0.1, passing=0.5, blur=1.0, light=0.3, hue=0.1, saturation=0.3, soften=0.5)
NAMES = [  # of the numbers of a clip, but for those of its frames
    "bright", "contrast", "y", "x", "scale", "course_y", "course_x", "course_scale", "blur",
    "there", "way", "width", "top", "bottom", "red", "green", "blue", "where",
]  # fmt: skip


def numbers(t, tremble=None, **changes):
    """One row of numbers, each in the middle of its range but for those named; ``tremble`` is (t, 3) of y, x, scale."""
    row = np.full(Imitation.numbers(t), 0.5)
    for name, value in changes.items():
        row[NAMES.index(name)] = value
    if tremble is not None:
        row[len(NAMES) : len(NAMES) + 3 * t] = np.ravel(tremble)
    return row[None]


def noise(b, t, h=12, w=12):
    return torch.rand(b, t, 3, h, w, generator=torch.Generator().manual_seed(0))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=0, atol=2e-6)


def moved(frame, y, x=0):
    """(c h w) as a box sees it that is y pixels lower and x further to the right."""
    h, w = frame.shape[-2:]
    return frame[:, (torch.arange(h) + y).clamp(0, h - 1)][:, :, (torch.arange(w) + x).clamp(0, w - 1)]


# ---- drift


def test_in_the_middle_of_its_range_nothing_is_off():
    clips = noise(1, 3)
    same(Imitation(drift=0.5, light=1.0)(clips, numbers(3)), clips)


@pytest.mark.parametrize(("u", "v", "y", "x"), [(1, 0.5, 3, 0), (0, 0.5, -3, 0), (0.5, 1, 0, 3), (0, 1, -3, 3)])
def test_the_box_is_off_by_a_share_of_the_frame_and_repeats_the_edge(u, v, y, x):
    clips = noise(1, 2)
    out = Imitation(drift=0.25)(clips, numbers(2, y=u, x=v))  # a quarter of 12 pixels
    for frame, found in zip(clips[0], out[0], strict=True):
        same(found, moved(frame, y, x))


def test_half_a_box_shows_the_middle_twice_as_large():
    clips = noise(1, 1)
    doubled = F.interpolate(clips[0], scale_factor=2, mode="bilinear", align_corners=False)
    same(Imitation(drift=0.5)(clips, numbers(1, scale=0))[0], doubled[..., 6:18, 6:18])


def test_a_larger_box_makes_a_smaller_person():
    clips = torch.zeros(1, 1, 3, 12, 12)
    clips[..., 3:9, 3:9] = 1
    out = Imitation(drift=0.5)(clips, numbers(1, scale=1))
    assert out.sum() / clips.sum() == pytest.approx(1 / 1.5**2, rel=0.05)


def test_the_box_travels_in_a_straight_line_by_as_much_over_the_clip():
    clips = noise(1, 1, h=16).expand(-1, 5, -1, -1, -1)
    out = Imitation(drift=0.25)(clips, numbers(5, course_y=1))
    for i in range(5):  # 4 pixels in all
        same(out[0, i], moved(clips[0, i], i - 2))


def test_a_frame_trembles_alone():
    clips = noise(1, 3, h=10)
    tremble = np.full((3, 3), 0.5)
    tremble[1, 0] = 1
    out = Imitation(drift=0.5)(clips, numbers(3, tremble=tremble))  # a fifth of 5 pixels
    same(out[0, 1], moved(clips[0, 1], 1))
    same(out[0, ::2], clips[0, ::2])


def test_a_box_is_never_further_off_than_is_said():
    h, n, t, drift = 41, 3000, 3, 0.1
    height = torch.linspace(0, h - 1, h).view(1, 1, 1, h, 1).expand(n, t, 3, h, 5)  # a pixel's value is where it was
    out = Imitation(drift=drift)(height, uniform(range(n), Imitation.numbers(t)))
    off = (out[:, :, 0, h // 2, 2] - h // 2) / h / drift  # of the middle, which no scale moves
    assert 1.0 < off[:, 1].abs().max() <= 1.2 + 1e-4
    assert 1.4 < off.abs().max() <= 1.7 + 1e-4
    assert 1.2 < (off[:, 2] - off[:, 0]).abs().max() <= 1.4 + 1e-4
    assert abs(off.mean()) < 0.05


# ---- passing


def hidden(u, t, h, w, passing):
    """Which pixels the occluder of one row of numbers covers, (t h w), pixel by pixel."""
    there, way, width, top, bottom, *_, where = u[NAMES.index("there") : len(NAMES)]
    covers = torch.zeros(t, h, w, dtype=torch.bool)
    for i in range(t):
        way_along = i / (t - 1) - 0.5 if t > 1 else 0.0
        middle = 0.5 + (1.6 if way < 0.5 else -1.6) * way_along + 0.6 * (where - 0.5)
        for y in range(h):
            for x in range(w):
                across = abs((x + 0.5) / w - middle) < 0.1 + 0.15 * width
                along = 0.5 * top < (y + 0.5) / h < 1 - 0.3 * bottom
                covers[i, y, x] = bool(across and along and there < passing)
    return covers


@pytest.mark.parametrize("t", [1, 2, 5])
def test_an_occluder_is_an_upright_block_of_one_colour(t):
    clips, u = noise(20, t, w=7), uniform(range(20), Imitation.numbers(t))
    out = Imitation(passing=0.7)(clips, u)
    for clip, found, row in zip(clips, out, u, strict=True):
        colour = torch.tensor(row[NAMES.index("red") : NAMES.index("where")], dtype=torch.float32)
        covers = hidden(row, t, 12, 7, 0.7)[:, None]
        assert torch.equal(found, torch.where(covers, colour[:, None, None], clip))


def test_an_occluder_enters_at_one_side_and_leaves_at_the_other():
    n, t, w = 200, 9, 100
    u = uniform(range(n), Imitation.numbers(t))
    u[:, NAMES.index("top")] = u[:, NAMES.index("bottom")] = 0
    covers = Imitation(passing=1.0)(torch.full((n, t, 3, 4, w), 2.0), u)[:, :, 0, 2] < 2  # (n t w)
    mirrored = torch.from_numpy(u[:, NAMES.index("way")] >= 0.5)
    covers[mirrored] = covers[mirrored].flip(-1)  # now all go from left to right
    assert 60 < mirrored.sum() < 140
    assert not covers[:, 0, 25:].any() and not covers[:, -1, :75].any()
    assert covers.any(1).float().mean() > 0.95  # on its way it covers nearly everything
    midway = covers[:, 3:6].float()
    middles = (midway * torch.arange(w)).sum(-1) / midway.sum(-1)
    assert (middles.diff(dim=1) > 0).all()


def test_a_clip_of_one_frame_is_hidden_somewhere():
    n = 500
    u = uniform(range(n), Imitation.numbers(1))
    covers = Imitation(passing=1.0)(torch.full((n, 1, 3, 4, 50), 2.0), u)[:, 0, 0, 2] < 2
    assert covers.any(1).all() and covers.any(0).all() and 0.2 < covers.float().mean() < 0.5


def test_an_occluder_comes_as_often_as_asked():
    n = 4000
    clips = torch.full((n, 1, 3, 8, 20), 2.0)
    for chance in (0.3, 1.0):
        out = Imitation(passing=chance)(clips, uniform(range(n), Imitation.numbers(1)))
        seen = (out < 2).flatten(1).any(1).double().mean()
        assert abs(seen - chance) <= 5 * (chance * (1 - chance) / n) ** 0.5


# ---- blur and light


@pytest.mark.parametrize(("blur", "u", "radius"), [(1.0, 0.8, 3), (1.0, 1.0, 3), (2.5, 1.0, 8), (0.0, 1.0, 0)])
def test_a_point_is_blurred_to_a_gaussian(blur, u, radius):
    clips = torch.zeros(1, 2, 3, 21, 19)
    clips[..., 10, 9] = 1
    x = np.arange(-radius, radius + 1)
    bell = np.exp(-0.5 * (x / (blur * u or 1)) ** 2)
    bell /= bell.sum()
    expected = torch.zeros_like(clips)
    expected[..., 10 - radius : 11 + radius, 9 - radius : 10 + radius] = torch.from_numpy(np.outer(bell, bell))
    same(Imitation(blur=blur)(clips, numbers(2, blur=u)), expected)


def test_blur_leaves_one_colour_alone_and_may_be_nothing():
    grey = torch.full((1, 2, 3, 12, 12), 0.7)
    same(Imitation(blur=3.0)(grey, numbers(2, blur=1)), grey)
    clips = noise(1, 2)
    same(Imitation(blur=3.0)(clips, numbers(2, blur=0)), clips)


def test_light_is_a_factor_of_the_values_and_of_their_distance_from_the_mean():
    clips = torch.cat([torch.full((1, 1, 3, 4, 4), v) for v in (0.2, 0.6)], 1)  # mean 0.4
    out = Imitation(light=0.5)(clips, numbers(2, bright=1, contrast=0))  # 1.5 and 0.5 times
    same(out[:, 0], torch.full_like(out[:, 0], 1.5 * (0.4 - 0.5 * 0.2)))
    same(out[:, 1], torch.full_like(out[:, 1], 1.5 * (0.4 + 0.5 * 0.2)))
    out = Imitation(light=1.0)(clips, numbers(2, bright=1, contrast=1))  # values outside 0..1 are clipped
    same(out[0, :, 0, 0, 0], torch.tensor([0.0, 1.0]))
    assert (Imitation(light=1.0)(clips, numbers(2, bright=0)) == 0).all()


# ---- all of it


@pytest.mark.parametrize("effects", [*({name: value} for name, value in ALL.items()), ALL], ids=str)
@pytest.mark.parametrize("t", [1, 4])
def test_a_clip_depends_on_its_own_numbers_alone(t, effects):
    imitation, clips, u = Imitation(**effects), noise(6, t), uniform(range(6), Imitation.numbers(t))
    before = clips.clone()
    out = imitation(clips, u)
    assert torch.equal(clips, before) and out.shape == clips.shape and out.dtype == torch.float32
    assert out.min() >= 0 and out.max() <= 1 + 1e-6
    assert not torch.equal(out, clips)
    for order in ([5, 0, 3], [2]):
        assert torch.equal(imitation(clips[order], u[order]), out[order])
    assert not torch.equal(imitation(clips, u[::-1].copy()), out)


def test_augmentation_imitates_by_the_draw_and_flips_and_erases_as_before():
    clips = torch.randint(200, 256, (40, 3, 3, 32, 16), dtype=torch.uint8)  # nowhere the mean colour
    before, plain, augment = clips.clone(), ClipAugment(), ClipAugment(imitation=Imitation(drift=0.1, light=0.1))
    out = augment(clips, range(40))
    assert torch.equal(clips, before)
    assert torch.equal(out == 0, plain(clips, range(40)) == 0)
    order = [7, 3, 39]
    assert torch.equal(augment(clips[order], order), out[order])
    assert torch.equal(ClipAugment(imitation=Imitation())(clips, range(40)), plain(clips, range(40)))
    still = ClipAugment(flip=0.0, erase=0.0, imitation=Imitation(**ALL))
    expected = Imitation(**ALL)(clips / 255, uniform(range(40), 24 + Imitation.numbers(3))[:, 24:])
    mean, std = torch.tensor([still.mean, still.std]).view(2, 3, 1, 1)
    torch.testing.assert_close(still(clips, range(40)), (expected - mean) / std)


def test_nothing_is_asked_for_by_default():
    assert not Imitation()
    assert all(Imitation(**{name: value}) for name, value in ALL.items())


@pytest.mark.parametrize(
    ("effects", "message"),
    [
        (dict(drift=-0.1), "drift must be in 0..0.5, got -0.1"),
        (dict(drift=0.6), "drift must be in 0..0.5, got 0.6"),  # a box could turn over
        (dict(passing=1.1), "passing must be in 0..1, got 1.1"),
        (dict(light=float("nan")), "light must be a finite number, got nan"),
        (dict(hue=0.6), "hue must be in 0..0.5, got 0.6"),
        (dict(saturation=2), "saturation must be in 0..1, got 2"),
        (dict(soften=-1), "soften must be in 0..1, got -1"),
        (dict(blur=-1), "blur must be >= 0, got -1"),
        (dict(blur=float("inf")), "blur must be a finite number, got inf"),
    ],
)
def test_a_setting_out_of_its_range_is_an_error(effects, message):
    with pytest.raises(ValueError, match=message):
        Imitation(**effects)


def test_clips_or_numbers_that_do_not_fit_are_errors():
    imitation = Imitation(**ALL)
    with pytest.raises(ValueError, match=r"expected float32 clips \(b, t, 3, h, w\), got torch.uint8"):
        imitation((noise(1, 2) * 255).byte(), numbers(2))
    with pytest.raises(ValueError, match=r"of shape \(2, 3, 12, 12\)"):
        imitation(noise(1, 2)[0], numbers(2))
    with pytest.raises(ValueError, match=r"expected \(1, 29\) random numbers, got \(1, 26\)"):
        imitation(noise(1, 2), numbers(1))


@pytest.mark.cuda
def test_a_gpu_does_the_same_and_is_not_waited_for():
    clips, u = noise(8, 4), uniform(range(8), Imitation.numbers(4))
    there = clips.cuda()
    Imitation(**ALL)(there, u)
    torch.cuda.set_sync_debug_mode("error")
    try:
        out = Imitation(**ALL)(there, u)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(out.cpu(), Imitation(**ALL)(clips, u), rtol=0, atol=2e-3)  # its convolutions may be TF32
