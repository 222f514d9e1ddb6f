"""A site of walkers without labels, and small weights that tell walkers apart a little, for the tests of adaptation."""

from __future__ import annotations

from dataclasses import replace

from stmga import STMGA, create_model
from stmga.data.walkers.render import render_walkers
from stmga.tracklets.tracklet import Tracklet
from stmga.train import AdaptConfig, with_input

QUICK = AdaptConfig(
    rounds=2,
    steps=3,
    persons=4,
    frames=4,
    frozen=("conv1", "bn1", "layer1"),
    lr=5e-5,
    keep=0.9,
    teacher=0.5,
    start_share=0.3,
)


def site(persons: int = 14, *, times: bool = False) -> list[Tracklet]:
    """Four tracklets of each person, by two cameras; with ``times``, all of one camera and round are there at once."""
    people = render_walkers(persons, cameras=2, tracklets=2, frames=4, size=(64, 32))
    if not times:
        return people
    return [
        replace(t, time=100.0 * int(t.id[-1]), extra={**t.extra, "end_time": 100.0 * int(t.id[-1]) + 50})
        for t in people
    ]


def small() -> STMGA:
    """The smallest shipped weight, for frames of 64 x 32, with its record and calibration."""
    model = with_input(create_model("stmga_resnet18_c4_baseline.market_cuhk03", pretrained=True), size=(64, 32))
    assert model.record is not None
    assert model.record.calibration is not None
    calibration = replace(model.record.calibration, digest=model.digest())
    model.record = replace(model.record, config=model.config, calibration=calibration)
    return model
