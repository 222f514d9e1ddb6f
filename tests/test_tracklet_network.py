"""Networks of other people in the embedder, and where a frame is resized on its way to any network."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from stmga import STMGA, ClipTransform, STMGAConfig, TrackletEmbedder
from stmga.embedding.clip_dataset import Clips, collate
from stmga.tracklets.tracklet import Tracklet

SIZE = (16, 8)


class Plain:
    """No module: the mean colour of each clip."""

    config = SimpleNamespace(clip_length=4, size=SIZE)
    dim, device, record = 3, torch.device("cpu"), None
    transform = ClipTransform(size=SIZE)

    def digest(self) -> str:
        return "plain"

    def encode(self, clips: Tensor) -> Tensor:
        return clips.mean((1, 3, 4))

    def forward_head(self, z: Tensor) -> Tensor:
        return F.normalize(z, dim=-1)


class Module(nn.Module):
    """A module that is not an STMGA, and whose result depends on its mode."""

    config, dim, record, transform = Plain.config, 6, None, Plain.transform

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 6)
        self.norm = nn.BatchNorm1d(6)

    @property
    def device(self) -> torch.device:
        return self.linear.weight.device

    def digest(self) -> str:
        return f"module {self.linear.weight.sum().item()}"

    def encode(self, clips: Tensor) -> Tensor:
        SEEN.append((self.training, self.linear(clips.mean((1, 3, 4))).dtype))
        return self.linear(clips.mean((1, 3, 4)))

    def forward_head(self, z: Tensor) -> Tensor:
        return F.normalize(self.norm(z), dim=-1)


SEEN: list[tuple[bool, torch.dtype]] = []


def frames(*lengths: int, size: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    return {f"t{i}": draw.integers(0, 256, (n, *size, 3), dtype=np.uint8) for i, n in enumerate(lengths)}


def expected(network: Plain | Module, source: dict[str, np.ndarray]) -> Tensor:
    """By the documented rule, a tracklet at a time."""
    means = []
    for clip in source.values():
        looped = [i % len(clip) for i in range(-(-len(clip) // 4) * 4)]
        pixels = network.transform(clip[looped]).unflatten(0, (-1, 4))
        means.append(network.encode(pixels).mean(0))
    with torch.no_grad():
        return network.forward_head(torch.stack(means))


def test_a_class_of_ones_own_embeds_without_being_a_module() -> None:
    source = frames(3, 9, 4)
    embedder = TrackletEmbedder(Plain())
    found = embedder(source)
    torch.testing.assert_close(found.vectors, expected(Plain(), source), atol=1e-6, rtol=0)
    assert (found.digest, found.model, found.calibration) == ("plain", "", None)
    assert repr(embedder).startswith("TrackletEmbedder(unnamed weights, clips of 4 x 16 x 8 -> 3, cpu, fp32")
    for asked in ({"precision": "bf16"}, {"compile": True}, {"device": "meta"}):
        with pytest.raises(ValueError, match="computes as it was written, in fp32 on cpu"):
            TrackletEmbedder(Plain(), **asked)


def test_a_module_of_ones_own_computes_in_eval_mode_and_under_autocast() -> None:
    torch.manual_seed(0)
    network, source = Module().train(), frames(3, 9, 4)
    network.norm.running_mean += torch.arange(6) / 10  # so that eval mode differs from what a batch would give
    SEEN.clear()
    found = TrackletEmbedder(network)(source)
    assert SEEN and set(SEEN) == {(False, torch.float32)}
    assert network.training and network.norm.training
    torch.testing.assert_close(found.vectors, expected(network.eval(), source), atol=1e-6, rtol=0)
    SEEN.clear()
    half = TrackletEmbedder(network, precision="bf16")(source)
    assert {dtype for _, dtype in SEEN} == {torch.bfloat16}
    assert half.vectors.dtype == torch.float32
    embedder = TrackletEmbedder(network)
    before = embedder(source)
    with torch.no_grad():
        network.linear.weight.mul_(-1)
    after = embedder(source)  # changed weights are seen by their digest
    assert before.digest != after.digest
    torch.testing.assert_close(after.vectors, expected(network, source), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("wrong", "words"), [("stmga_resnet18_c4", "got str"), (nn.Linear(2, 2), "got Linear")])
def test_what_is_no_network_is_named_with_what_it_lacks(wrong: object, words: str) -> None:
    with pytest.raises(TypeError, match=rf"{words}, which has no config, dim, .*stmga\.create_model"):
        TrackletEmbedder(wrong)


def test_an_stmga_states_its_transform() -> None:
    model = STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), mean=(0.5, 0.5, 0.5)))
    assert model.transform == ClipTransform(size=(64, 32), mean=(0.5, 0.5, 0.5))


# ---- where a frame is resized


def small(tmp_path: Path) -> Tracklet:
    Image.fromarray(frames(1)["t0"][0]).save(tmp_path / "a.jpg")
    return Tracklet("file", [tmp_path / "a.jpg"])


def test_a_sample_says_whether_its_frames_are_resized(tmp_path: Path) -> None:
    large = Tracklet("large", frames(2, size=(64, 32))["t0"])
    floats = Tracklet("floats", torch.rand(2, 3, *SIZE))
    mixed = Tracklet("mixed", [np.zeros((16, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)])
    exact = Tracklet("exact", frames(2)["t0"])
    bad = Tracklet("bad", torch.full((2, 3, 8, 8), 200.0))
    clips = Clips([exact, large, floats, mixed, bad], ClipTransform(size=SIZE), 4, "all")
    samples = [clips[i] for i in range(len(clips))]
    assert [sample.owner for sample in samples] == [0, 1, 2, 3, 4]
    assert [sample.resized for sample in samples[:4]] == [False, True, True, True]
    assert [sample.pixels.dtype for sample in samples[:4]] == [torch.uint8, *[torch.float32] * 3]
    assert all(sample.pixels.shape == (4, 3, *SIZE) and not sample.fault for sample in samples[:4])
    assert samples[4].pixels is None and 'tracklet "bad"' in samples[4].fault
    batch = collate(samples)
    assert (batch.size, batch.owners, list(batch.faults)) == (5, [0, 1, 2, 3], [4])
    assert [(len(group.pixels), group.resized) for group in batch.groups] == [(1, False), (3, True)]


def test_any_other_transform_runs_in_the_reader(tmp_path: Path) -> None:
    """Also on files that a ClipTransform would leave to the device."""
    tracklet = small(tmp_path)
    there = Clips([tracklet], ClipTransform(size=SIZE), 4, "all", "device")[0]
    assert not there.resized and not isinstance(there.pixels, Tensor)
    here = Clips([tracklet], lambda clip: torch.stack(clip).float().mean((2, 3), keepdim=True), 4, "all", "device")[0]
    assert here.resized and here.pixels.shape == (4, 3, 1, 1)
