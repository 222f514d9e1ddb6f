"""Rendered walkers with labels: the regions at each position, and the loss that teaches them to the parts."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stmga.data import LabelledWalkers
from stmga.data.walkers.canvas import Label
from stmga.data.walkers.labels import REGIONS, region_shares
from stmga.train import Objective, StoppedError, TrainConfig, recipe, train
from stmga.train.losses import region_loss
from tests.support.train import QUICK, assert_same, little_benchmark, stop_at, tiny


def test_a_place_has_the_share_of_its_pixels():
    labels = torch.full((1, 32, 16), int(Label.BACKGROUND), dtype=torch.uint8)
    labels[0, :8] = int(Label.HEAD)  # half of the upper position
    labels[0, 8:12, :8] = int(Label.BAG)  # an eighth of it
    labels[0, 16:] = int(Label.SHOES)
    labels[0, 20:24] = int(Label.OCCLUDER)  # a quarter of the lower position
    shares = region_shares(labels, 4)
    assert shares.shape == (1, 4, 2, 1)
    assert shares[0, :, 0, 0].tolist() == [0.5, 0.125, 0, 0]
    assert shares[0, :, 1, 0].tolist() == [0, 0, 0, 0.75]
    assert region_shares(labels, 2)[0, :, 0, 0].tolist() == [0.625, 0]
    assert region_shares(labels, 1)[0, 0, :, 0].tolist() == [0.625, 0.75]


def test_every_region_of_the_body_belongs_to_one_part():
    body = {Label.HEAD, Label.TORSO, Label.BAG, Label.LEGS, Label.SHOES}
    for parts, regions in REGIONS.items():
        assert len(regions) == parts
        assert sorted(label for region in regions for label in region) == sorted(body)


def test_a_draw_is_the_clip_with_its_regions_mirrored_together():
    shown = LabelledWalkers(parts=4, length=2, size=(64, 32), clips=4)
    frames, regions = shown.draw(16, rng=np.random.default_rng(3))
    again, _ = shown.draw(16, rng=np.random.default_rng(3))
    assert torch.equal(frames, again)
    mirrored = 0
    for clip, region in zip(frames, regions, strict=True):
        own = [i for i in range(4) if torch.equal(shown.frames[i], clip)]
        other = [i for i in range(4) if torch.equal(shown.frames[i].flip(-1), clip)]
        assert len(own) + len(other) == 1
        mirrored += len(other)
        expected = shown.regions[own[0]] if own else shown.regions[other[0]].flip(-1)
        assert torch.equal(region, expected)
    assert 0 < mirrored < 16
    assert (shown.regions[1::2].sum((1, 2, 3, 4)) > 0).all()  # hidden in part of the frames, not in all


def test_three_parts_have_no_regions():
    with pytest.raises(ValueError, match="1, 2, 4 parts, not for 3"):
        LabelledWalkers(parts=3, length=1, size=(64, 32))


def test_the_loss_is_the_cross_entropy_of_parts_and_person():
    parts, whole = torch.rand(2, 3, 4, 5, 2), torch.rand(2, 3, 1, 5, 2)
    regions = torch.rand(2, 3, 4, 5, 2) / 4
    person = regions.sum(2, keepdim=True)
    literal = -(regions * parts.log() + (1 - regions) * (1 - parts).log()).mean()
    literal -= (person * whole.log() + (1 - person) * (1 - whole).log()).mean()
    torch.testing.assert_close(region_loss(parts, whole, regions), literal)


def test_labelled_clips_take_part_in_their_own_loss_alone():
    torch.manual_seed(0)
    config = TrainConfig(weight_regions=2.0)
    whole = Objective(tiny(), identities=3, config=config).eval()  # eval: no batch statistics tie clips together
    size = whole.model.config.size
    clips, shown = torch.rand(6, 2, 3, *size), torch.rand(2, 2, 3, *size)
    labels = torch.arange(6) // 2
    regions = torch.rand(2, 2, 4, size[0] // 16, size[1] // 16) / 4
    alone, both = whole(clips, labels), whole(torch.cat([clips, shown]), labels, regions)
    for name, value in alone.items():
        if name != "total":
            torch.testing.assert_close(both[name], value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both["total"], alone["total"] + 2.0 * both["regions"])


def test_a_run_with_regions_learns_them_and_goes_on_to_the_same_end(tmp_path, monkeypatch):
    config = recipe("clips", **{**QUICK.to_dict(), "weight_regions": 1.0})
    benchmark = little_benchmark()
    result = train(tiny(), benchmark, config, tmp_path / "whole")
    assert all("regions" in row["loss"] for row in result.log)
    stop_at(monkeypatch, 2)
    with pytest.raises(StoppedError, match="stopped"):
        train(tiny(), benchmark, config, tmp_path / "parts")
    train(tiny(), benchmark, config, tmp_path / "parts")
    assert_same(tmp_path / "parts", tmp_path / "whole")


def test_attention_can_learn_the_regions():
    """Only the heads of CPA, on a map that shows the regions: the loss falls to the entropy of the shares."""
    from stmga.blocks import CPA

    torch.manual_seed(0)
    shown = LabelledWalkers(parts=4, length=1, size=(64, 32), clips=8)
    maps = F.pad(shown.regions, (0, 0, 0, 0, 0, 12))  # 4 informative channels, 12 empty ones
    cpa = CPA(16, parts=4, reduction=1).train()
    optimizer = torch.optim.Adam(cpa.parameters(), lr=0.03)
    for _ in range(150):
        found = cpa.supervise(maps)
        loss = region_loss(found.part_attention, found.global_attention, shown.regions)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for n in range(4):
        region = shown.regions[:, 0, n]
        mine, others = region > 0.5 * region.max(), region == 0
        attention = found.part_attention[:, 0, n]
        assert attention[mine].mean() > 2 * attention[others].mean()
