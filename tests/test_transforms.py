"""The transform: one set of numbers whatever the clip comes as, PIL's bicubic within a tolerance, clear refusals."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stmga.config import STMGAConfig
from stmga.transforms import ClipTransform

PLAIN = ClipTransform(size=(32, 16), mean=(0, 0, 0), std=(1, 1, 1))


def picture(height: int, width: int, frames: int = 3, seed: int = 0) -> np.ndarray:
    """(t, h, w, 3) uint8: smooth shapes with sharp edges, as photographs have, and a little noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    out = []
    for t in range(frames):
        waves = [127 + 90 * np.sin(7 * x + c + t) * np.cos(5 * y - c) for c in range(3)]
        image = np.stack(waves, -1) + rng.normal(0, 6, (height, width, 3))
        image[height // 4 : height // 2, width // 3 :] = (250, 5, 128)
        out.append(image.clip(0, 255).astype(np.uint8))
    return np.stack(out)


def forms(clip: np.ndarray) -> dict[str, object]:
    tensor = torch.from_numpy(clip).permute(0, 3, 1, 2)
    return {
        "PIL": [Image.fromarray(frame) for frame in clip],
        "array": clip,
        "array flipped twice": np.ascontiguousarray(clip[..., ::-1])[..., ::-1],  # negative strides
        "list of arrays": list(clip),
        "tensor channels last in memory": tensor,
        "tensor": tensor.contiguous(),
        "list of tensors": list(tensor),
    }


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 50), frames=st.integers(1, 4))
def test_uint8_forms_agree_exactly_and_float_within_1e5(height: int, width: int, frames: int) -> None:
    transform = ClipTransform(size=(32, 16))
    clip = picture(height, width, frames)
    expected = transform(clip)
    assert expected.shape == (frames, 3, 32, 16)
    assert expected.dtype == torch.float32
    for name, form in forms(clip).items():
        assert torch.equal(transform(form), expected), name
    floats = torch.from_numpy(clip).permute(0, 3, 1, 2) / 255
    for form in (floats, floats.double(), list(floats), (clip / 255).astype(np.float32)):
        torch.testing.assert_close(transform(form), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("height", "width"), [(128, 64), (120, 56), (60, 31), (256, 100), (300, 128), (511, 233)])
def test_resizes_as_pil_does(height: int, width: int) -> None:
    """PIL rounds and clips to bytes after each of its two passes, the transform clips once and never rounds.

    So they differ by less than 1.5 grey levels, except where an edge overshoots black or white.
    """
    for clip, most in ((picture(height, width) // 2 + 64, 1.5), (picture(height, width), 12)):
        ours = ClipTransform(size=(256, 128), mean=(0, 0, 0), std=(1, 1, 1))(clip) * 255
        theirs = np.stack([np.asarray(Image.fromarray(f).resize((128, 256), Image.Resampling.BICUBIC)) for f in clip])
        difference = (ours - torch.from_numpy(theirs).permute(0, 3, 1, 2)).abs()
        assert difference.max() <= most
        assert difference.mean() <= 0.4


def test_a_clip_of_the_right_size_is_only_normalised() -> None:
    clip = picture(32, 16)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
    expected = (clip / 255 - np.array(mean)) / np.array(std)
    got = ClipTransform(size=(32, 16), mean=mean, std=std)(clip)
    np.testing.assert_allclose(got.permute(0, 2, 3, 1), expected, atol=1e-6)
    assert torch.equal(PLAIN(clip) * 255, torch.from_numpy(clip).permute(0, 3, 1, 2).float())


def test_bicubic_overshoot_is_clamped() -> None:
    clip = np.zeros((1, 8, 8, 3), np.uint8)
    clip[:, :, 4:] = 255
    out = PLAIN(clip)
    assert out.min() == 0
    assert out.max() == 1


def test_frames_of_unequal_size_keep_their_order() -> None:
    sizes = [(40, 20), (50, 21), (40, 20), (32, 16), (50, 21)]
    frames = [picture(height, width, 1, seed)[0] for seed, (height, width) in enumerate(sizes)]
    mixed = PLAIN([Image.fromarray(frame) for frame in frames])
    for got, frame in zip(mixed, frames, strict=True):
        assert torch.equal(got, PLAIN(frame[None])[0])


def test_leading_axes_stay() -> None:
    clips = torch.from_numpy(picture(40, 20, 6)).permute(0, 3, 1, 2).unflatten(0, (2, 3))
    out = PLAIN(clips)
    assert out.shape == (2, 3, 3, 32, 16)
    assert torch.equal(out[1], PLAIN(clips[1]))


def test_the_input_is_not_changed() -> None:
    for clip in (torch.rand(2, 3, 32, 16), torch.rand(2, 3, 40, 20)):
        before = clip.clone()
        PLAIN(clip)
        assert torch.equal(clip, before)


def test_other_image_modes_become_rgb() -> None:
    grey = Image.fromarray(picture(32, 16)[0][..., 0])
    out = PLAIN([grey, grey.convert("RGBA"), grey.convert("P")])
    assert torch.equal(out[0, 0], out[0, 2])
    assert torch.equal(out[0], out[1])
    for mode in ("F", "I", "I;16"):  # of no known range
        with pytest.raises(ValueError, match=f"mode '{mode}' has no 8-bit colours"):
            PLAIN([Image.new(mode, (16, 32))])


clip8 = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("clip", "error", "words"),
    [
        ([], ValueError, "empty clip"),
        (clip8[:0], ValueError, "empty clip"),
        (torch.zeros(2, 3, 0, 8), ValueError, "at least one frame of one pixel"),
        (clip8[0, 0], ValueError, r"shape \(8, 8\), expected \(..., t, 3, h, w\)"),
        (torch.zeros(2, 8, 9, 3), ValueError, r"channels first.*movedim\(-1, -3\)"),
        (torch.zeros(2, 1, 8, 8), ValueError, r"\(2, 1, 8, 8\)"),
        (np.zeros((2, 3, 8, 8), np.uint8), ValueError, "channels last"),
        (np.zeros((8, 8), np.uint8), ValueError, r"expected \(..., t, h, w, 3\)"),
        (np.zeros((0, 8, 8, 3), np.uint8), ValueError, "empty clip"),
        (clip8.long(), TypeError, "torch.int64"),
        (np.zeros((2, 8, 8, 3), np.int64), TypeError, "int64"),
        (torch.full((2, 3, 8, 8), torch.nan), ValueError, "NaN"),
        (torch.full((2, 3, 8, 8), 255.0), ValueError, "0..1, got 255..255; divide"),
        (torch.full((2, 3, 8, 8), -0.1), ValueError, "0..1"),
        (torch.full((2, 3, 8, 8), torch.inf), ValueError, "0..1"),
        ([clip8[0], torch.full((3, 8, 8), torch.nan)], ValueError, "NaN"),
        ([clip8], ValueError, r"tensor of shape \(2, 3, 8, 8\), expected \(3, h, w\)"),
        ([np.zeros((8, 8), np.uint8)], ValueError, r"\(h, w, 3\)"),
        (["a.jpg"], TypeError, "frame of type str"),
        ("a.jpg", TypeError, "got str; a clip is"),
        (None, TypeError, "NoneType"),
    ],
)
def test_refusals(clip: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        PLAIN(clip)  # type: ignore[arg-type]


def test_a_single_image_is_a_clip_of_one_frame() -> None:
    frame = picture(40, 20, 1)[0]
    expected = PLAIN(frame[None])
    for single in (Image.fromarray(frame), frame, torch.from_numpy(frame).permute(2, 0, 1)):
        assert torch.equal(PLAIN(single), expected)
    torch.testing.assert_close(PLAIN(frame / 255), expected, atol=1e-5, rtol=0)


def test_it_is_data() -> None:
    transform = ClipTransform(size=(64, 48), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    again = ClipTransform.from_dict(json.loads(json.dumps(transform.to_dict())))
    assert again == transform
    assert hash(again) == hash(transform)
    config = STMGAConfig(size=(64, 48), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    assert ClipTransform.from_config(config) == transform
    for word in ("64 x 48", "bicubic", "0.1, 0.2, 0.3", "0.4, 0.5, 0.6"):
        assert word in str(transform)
    with pytest.raises(ValueError, match=r"no setting 'crop'"):
        ClipTransform.from_dict({**transform.to_dict(), "crop": 3})


@pytest.mark.parametrize("bad", [{"size": (0, 4)}, {"size": 256}, {"mean": (1, 2)}, {"std": (1, 0, 1)}])
def test_bad_values_are_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(bad))}"):
        ClipTransform(**bad)
