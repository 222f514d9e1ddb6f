"""No frame is computed twice: which frames the network gets, and that vectors stay those of whole clips."""

import hashlib
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from stmga import STMGA, Tracklet, TrackletEmbedder
from stmga.config import paper_config
from stmga.embedding.clip_dataset import ClipRows, clip_indices
from stmga.embedding.frame_features import FrameFeatures
from stmga.tracklets.tracklet import TrackletError
from stmga.transforms import ClipTransform
from tests.support.embedder import TINY, build, pixels, truncate, write

LENGTHS = (1, 2, 3, 5, 8, 9, 12)


def records(*lengths: int) -> list[Tracklet]:
    return [Tracklet(f"t{i}", pixels(n, i)) for i, n in enumerate(lengths)]


def whole_clips(model: STMGA, record: Tracklet, *, flip: bool = False, sampling: str = "all") -> torch.Tensor:
    """As it was before: looped clips through the whole network."""
    network, length = model.eval().fuse(), model.clip_length
    frames = ClipTransform.from_config(model.config)(record.frames)
    clips = torch.stack([frames[indices] for indices in clip_indices(len(record), length, sampling)])
    with torch.no_grad():
        features = [network.encode(x).mean(0) for x in ((clips, clips.flip(-1)) if flip else (clips,))]
        return network.forward_head(torch.stack(features).mean(0)[None])[0]


@pytest.mark.parametrize("batch_size", [1, 3, 4])
@pytest.mark.parametrize("flip", [False, True])
def test_vectors_are_those_of_whole_clips(batch_size: int, flip: bool) -> None:
    """In LS-TA the zeros beyond the ends stay where the looped clip has its ends."""
    model = build(replace(TINY, clip_length=8))
    found = TrackletEmbedder(model, batch_size=batch_size, flip=flip)(records(*LENGTHS)).vectors
    for record, vector in zip(records(*LENGTHS), found, strict=True):
        torch.testing.assert_close(vector, whole_clips(model, record, flip=flip), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "name", ["table8/baseline", "table8/t-mga", "table8/s-mga", "table8/p-mga", "table8/s-mga,t-mga"]
)
def test_other_networks_of_the_paper_too(name: str) -> None:
    config = replace(paper_config(name), backbone="resnet18", stage="c4", size=(64, 32), clip_length=4, relation_dim=16)
    model = build(config)
    found = TrackletEmbedder(model, batch_size=2)(records(1, 6)).vectors
    for record, vector in zip(records(1, 6), found, strict=True):
        torch.testing.assert_close(vector, whole_clips(model, record), atol=1e-6, rtol=0)


class Counting:
    """The mean colour of the frames, weighted by their position in the clip; it notes the frames that it gets."""

    clip_length, record, dim, device = 4, None, 3, torch.device("cpu")
    transform = ClipTransform(size=(16, 16), mean=(0, 0, 0), std=(1, 1, 1))

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def digest(self) -> str:
        return hashlib.sha256(type(self).__name__.encode()).hexdigest()

    def to(self, device: object) -> "Counting":
        return self

    def check_inference(self, **options: object) -> None:
        """It computes as it is."""

    def for_inference(self, **options: object) -> "Counting":
        return self

    def encode_frames(self, frames: torch.Tensor) -> torch.Tensor:
        self.seen += frames
        return frames.mean((2, 3))

    def encode_clips(self, features: torch.Tensor) -> torch.Tensor:
        return (features * torch.arange(1.0, 5)[:, None]).mean(1)

    def forward_head(self, z: torch.Tensor) -> torch.Tensor:
        return F.normalize(z, dim=-1)


class Together(Counting):
    """A network that looks at frames together: its halves are the frames themselves, and all the rest."""

    def encode_frames(self, frames: torch.Tensor) -> torch.Tensor:
        self.seen += frames
        return frames

    def encode_clips(self, features: torch.Tensor) -> torch.Tensor:
        weights = torch.arange(1.0, 5).view(1, 1, 4, 1, 1).repeat(3, 1, 1, 1, 1)
        return F.conv3d(features.transpose(1, 2), weights, groups=3).mean((2, 3, 4)) / 4


@pytest.mark.parametrize("network", [Counting, Together])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_frame_is_computed_once(network: type[Counting], workers: int, batch_size: int) -> None:
    model, tracklets = network(), records(*LENGTHS)
    found = TrackletEmbedder(model, batch_size=batch_size, workers=workers)(tracklets)  # type: ignore[arg-type]
    frames = torch.cat([model.transform(record.frames) for record in tracklets])
    torch.testing.assert_close(torch.stack(model.seen), frames, atol=1e-6, rtol=0)  # all, once, in order
    for record, vector in zip(tracklets, found.vectors, strict=True):
        colours = model.transform(record.frames).mean((2, 3))
        clips = [colours[indices] * torch.arange(1.0, 5)[:, None] for indices in clip_indices(len(record), 4)]
        torch.testing.assert_close(vector, F.normalize(torch.stack(clips).mean((0, 1)), dim=-1), atol=1e-5, rtol=0)


def test_spread_evenly_only_the_frames_of_the_clip_are_computed() -> None:
    model = Counting()
    TrackletEmbedder(model, sampling="evenly")(records(20, 3))  # type: ignore[arg-type]
    assert len(model.seen) == 4 + 3


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize("cut", [0, 6, 8])
def test_a_fault_in_any_clip_leaves_the_others_as_they_were(tmp_path, batch_size: int, cut: int) -> None:
    """Also where the last clip loops to frames that could not be read."""
    model, root = build(TINY), write(tmp_path, {"a": 9, "b": 9, "c": 9})
    whole = TrackletEmbedder(model, batch_size=batch_size)(root)
    truncate(root / "b" / f"{cut}.jpg")
    rest = TrackletEmbedder(model, batch_size=batch_size, on_error="skip")(root)
    assert rest.ids == ["a", "c"]
    torch.testing.assert_close(rest.vectors, whole.vectors[[0, 2]], atol=1e-6, rtol=0)
    with pytest.raises(TrackletError, match=rf'tracklet "b": cannot read .*b/{cut}\.jpg'):
        TrackletEmbedder(model, batch_size=batch_size)(root)


def test_fewer_frames_than_a_clip_has_are_kept() -> None:
    known = FrameFeatures(counts=[1, 26, 1], length=4)
    for start in range(0, 100, 4):
        rows = ClipRows(1, list(range(start, start + 4)), list(range(start, start + 4)))
        known.gather(torch.arange(start, start + 4), [rows])
        assert known._kept is not None and known._kept.tolist() == [0, 1, 2]
    last = known.gather(torch.tensor([100]), [ClipRows(1, [100, 0, 1, 2], [100])])
    assert last.tolist() == [[100, 0, 1, 2]]
    known.gather(torch.tensor([7]), [ClipRows(2, [0, 0, 0, 0], [0])])
    assert known._kept is None
