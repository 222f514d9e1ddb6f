"""Networks of single images as networks of tracklets: modules of any output, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

from stmga import STMGA, Gallery, TrackletEmbedder, compare
from stmga.embedding import FrameEncoder, TrackletNetwork
from stmga.trackers import Encoder
from stmga.utils.cost import gmac
from tests.support.embedder import TINY, pixels, tracklets

SIZE = (32, 16)


class Features(nn.Module):
    """(n 3 h w) -> (n 6), or maps (n 6 h' w')."""

    def __init__(self, maps: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.maps = nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6), maps
        self.norm.running_mean.uniform_(-0.1, 0.1)
        self.norm.running_var.uniform_(0.5, 1.5)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu()
        return x if self.maps else x.mean((2, 3))


def by_hand(module, frames, pool):
    """Every frame alone, then the pooling of each clip, the mean of the clips, and the norm."""
    clip = FrameEncoder(module, size=SIZE).transform(frames)
    with torch.inference_mode():
        rows = torch.stack([module.eval()(frame[None]).flatten(2).mean(2)[0] for frame in clip])
    order = [i % len(rows) for i in range(-(-len(rows) // 4) * 4)]
    clips = rows[order].unflatten(0, (-1, 4))
    z = (clips.mean(1) if pool == "mean" else clips.amax(1)).mean(0)
    return z / z.norm()


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_a_vector_is_the_pooled_frames_of_each_clip(pool):
    module = Features(maps=True)
    network = FrameEncoder(module.train(), size=SIZE, pool=pool, clip_length=4)
    assert isinstance(network, TrackletNetwork)
    assert network.dim == 6
    frames = pixels(7, 0)
    found = TrackletEmbedder(network)({"a": frames}).vectors[0]
    assert module.training  # it is left as it is
    torch.testing.assert_close(found, by_hand(module, frames, pool), atol=1e-6, rtol=0)


def test_vectors_and_maps_give_the_same():
    maps, vectors = (FrameEncoder(Features(m), size=SIZE) for m in (True, False))
    a, b = (TrackletEmbedder(network)(tracklets(3, 9)) for network in (maps, vectors))
    torch.testing.assert_close(a.vectors, b.vectors, atol=1e-6, rtol=0)


def test_it_is_searched_compared_and_called_by_trackers():
    embedder = TrackletEmbedder(FrameEncoder(Features(), size=SIZE, clip_length=2), flip=True)
    found = embedder(tracklets(3, 3, 2))
    assert Gallery(found).search(found, k=2)[0][0].id != "t0"
    frame = np.full((64, 64, 3), 90, np.uint8)
    assert Encoder(FrameEncoder(Features(), size=SIZE)).get_features(np.array([[0, 0, 20, 40]]), frame).shape == (1, 6)
    assert compare(pixels(2, 0)[0], pixels(2, 0)[0], model=FrameEncoder(Features(), size=SIZE)).similarity > 0.999
    mirrored = TrackletEmbedder(FrameEncoder(Features(), size=SIZE, clip_length=2))(tracklets(3, 3, 2))
    assert not torch.equal(mirrored.vectors, found.vectors)


def test_bf16_is_near_fp32():
    network = FrameEncoder(Features(), size=SIZE)
    wanted, found = (TrackletEmbedder(network, precision=p)(tracklets(3, 9)).vectors for p in ("fp32", "bf16"))
    assert not torch.equal(found, wanted)
    assert (found * wanted).sum(1).min() > 0.999


def test_the_digest_tells_weights_and_settings_apart():
    module = Features()
    settings = [
        {}, {"pool": "max"}, {"clip_length": 4}, {"mean": (0.5, 0.5, 0.5)}, {"std": (1, 1, 1)}, {"size": (32, 32)},
    ]  # fmt: skip
    digests = [FrameEncoder(module, **({"size": SIZE} | setting)).digest() for setting in settings]
    network = FrameEncoder(module, size=SIZE)
    assert network.digest() == digests[0]
    before = TrackletEmbedder(network)(tracklets(3))
    with torch.no_grad():
        module.conv.weight[0, 0, 0, 0] += 1
    digests.append(network.digest())
    module.conv.stride = (1, 1)
    digests.append(network.digest())
    assert len(set(digests)) == 8
    after = TrackletEmbedder(network)(tracklets(4))
    with pytest.raises(ValueError, match="different weights cannot be compared"):
        Gallery(before).search(after)


@pytest.mark.parametrize(
    ("module", "match"),
    [
        (nn.Flatten(1, 2), r"gives \(2, 96, 16\) for 2 frames.*tokens must be pooled by the module"),
        (nn.Flatten(0, 1), r"gives \(6, 32, 16\) for 2 frames"),
        (nn.Flatten(0), r"gives \(3072,\) for 2 frames, expected vectors \(n, c\) or maps"),
        (nn.Linear(5, 2), r"does not take frames \(n, 3, h, w\) of shape \(2, 3, 32, 16\): mat1 and mat2"),
        (nn.Conv2d(1, 2, 3), "does not take frames.*expected input"),
        (nn.Conv2d(3, 2, 3).half(), r"weights are torch.float16; use module.float\(\)"),
    ],
)
def test_a_module_of_another_kind_is_refused(module, match):
    with pytest.raises(ValueError, match=match):
        FrameEncoder(module, size=SIZE)


def test_what_is_no_network_of_images_is_refused():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x

    with pytest.raises(ValueError, match="gives tuple, expected a tensor"):
        FrameEncoder(Pair(), size=SIZE)
    with pytest.raises(TypeError, match="STMGA is a network of tracklets already"):
        FrameEncoder(STMGA(TINY))
    with pytest.raises(TypeError, match=r"got DataParallel; give the network inside, model\.module"):
        FrameEncoder(nn.DataParallel(Features()), size=SIZE)
    with pytest.raises(TypeError, match=r"expected a torch module or the path of an \.onnx file, got int"):
        FrameEncoder(3)
    with pytest.raises(ValueError, match=r"give the size of the frames, such as size=\(256, 128\)"):
        FrameEncoder(Features())
    with pytest.raises(ValueError, match='pool must be "mean" or "max", got \'median\''):
        FrameEncoder(Features(), size=SIZE, pool="median")
    with pytest.raises(ValueError, match="std must be > 0"):
        FrameEncoder(Features(), size=SIZE, std=(0, 1, 1))
    with pytest.raises(ValueError, match="clip_length must be an integer >= 1, got 0"):
        FrameEncoder(Features(), size=SIZE, clip_length=0)
    with pytest.raises(ValueError, match=r"output='y' is for an \.onnx file"):
        FrameEncoder(Features(), size=SIZE, output="y")


def test_attention_in_one_operator_is_counted():
    """torch's counter does not know the fast path of nn.MultiheadAttention, which eval mode takes."""
    attention = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    with torch.inference_mode():
        found = gmac(attention, torch.zeros(1, 5, 8))
    layers = 5 * (8 * 24 + 8 * 8 + 2 * 8 * 16)
    assert round(found * 1e9) == layers + 2 * 5 * 5 * 8
    assert torch.backends.mha.get_fastpath_enabled()
