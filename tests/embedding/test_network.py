"""A network of one's own in the embedder, and what is no network."""

import hashlib

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stmga import STMGA, Gallery, TrackletEmbedder
from stmga.embedding import TrackletNetwork
from stmga.transforms import ClipTransform


class MeanColour:
    """The mean colour of a clip: the least that can be embedded with."""

    clip_length = 2
    record = None
    dim = 3
    device = torch.device("cpu")
    transform = ClipTransform(size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1))

    def digest(self):
        return hashlib.sha256(b"mean colour").hexdigest()

    def to(self, device):
        return self

    def check_inference(self, *, precision, **_):
        if precision != "fp32":
            raise ValueError("a mean colour is computed in fp32")

    def for_inference(self, **options):
        return self

    def encode_frames(self, frames):
        return frames.mean((2, 3))

    def encode_clips(self, features):
        return features.mean(1)

    def forward_head(self, z):
        return F.normalize(z, dim=-1)


def test_any_network_with_the_protocol_embeds_and_is_searched():
    red, blue = np.zeros((2, 8, 4, 3), np.uint8), np.zeros((3, 9, 5, 3), np.uint8)
    red[..., 0], blue[..., 2] = 200, 100
    found = TrackletEmbedder(MeanColour())({"red": red, "blue": blue, "dark red": red // 2})
    torch.testing.assert_close(found.vectors, torch.tensor([[1.0, 0, 0], [0, 0, 1.0], [1.0, 0, 0]]))
    assert Gallery(found).search(found, k=1)[0][0].id == "dark red"
    with pytest.raises(ValueError, match="computed in fp32"):
        TrackletEmbedder(MeanColour(), precision="bf16")


def test_the_networks_of_the_library_fulfil_the_protocol(model):
    assert isinstance(model, STMGA)
    assert isinstance(model, TrackletNetwork)


@pytest.mark.parametrize("wrong", [nn.Linear(2, 2), "stmga_resnet18_c4", None, [1, 2]])
def test_what_is_no_network_is_named(wrong):
    with pytest.raises(TypeError, match=rf"must be a network such as stmga.STMGA, got {type(wrong).__name__}"):
        TrackletEmbedder(wrong)


def test_a_wrapped_network_says_where_the_network_is(model):
    with pytest.raises(TypeError, match=r"got DataParallel; give the network inside, model\.module"):
        TrackletEmbedder(nn.DataParallel(model))


@pytest.mark.parametrize("wrong", [torch.eye(3), [[1.0, 0.0]], {"a": 1}])
def test_a_search_takes_embeddings_alone(wrong):
    gallery = Gallery(TrackletEmbedder(MeanColour())({"a": np.full((1, 8, 4, 3), 9, np.uint8)}))
    with pytest.raises(TypeError, match=r"search\(\) takes Embeddings, got \w+: embed tracklets"):
        gallery.search(wrong)
    with pytest.raises(TypeError, match=r"add\(\) takes Embeddings"):
        gallery.add(wrong)
