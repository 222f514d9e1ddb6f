"""The configuration as data."""

import pytest

from stmga.blocks.mapa import ATTEND
from stmga.config import CHOICES, PAPER_CONFIGS, STMGAConfig, paper_config


@pytest.mark.parametrize(
    "wrong",
    [
        {"backbone": "resnet19"},
        {"stage": "c3"},
        {"part_scales": (2, 3)},
        {"temporal_scales": (2,)},
        {"temporal_scales": ()},
        {"t_mga": False},
        {"parts": "none"},
        {"parts": "stripes", "s_mga": False, "t_mga": False, "temporal_scales": ()},
        {"order": "st", "s_mga": False},
        {"tau": 0.0},
        {"attend": "all"},
        {"t_mga": "False"},  # a text that would be true
        {"size": (256,)},
    ],
)
def test_a_configuration_that_is_no_network_is_refused(wrong):
    with pytest.raises(ValueError, match="invalid STMGAConfig"):
        STMGAConfig(**wrong)


def test_configuration_round_trip_and_keys_of_a_newer_version():
    attends = [STMGAConfig(attend=attend) for attend in CHOICES["attend"]]
    for config in (*PAPER_CONFIGS.values(), *attends):
        assert STMGAConfig.from_dict(config.to_dict()) == config
    with pytest.raises(ValueError, match=r"colour.*stmga 9\.0"):
        STMGAConfig.from_dict({"colour": "red"}, written_by="9.0")
    with pytest.raises(ValueError, match="wrong type"):
        STMGAConfig.from_dict({"tau": "hot"})
    with pytest.raises(ValueError, match="table8/s-mga"):
        paper_config("table8/smga")


def test_the_ways_to_attend_are_those_of_the_block_and_an_older_configuration_has_the_papers():
    assert CHOICES["attend"] == ATTEND
    older = STMGAConfig().to_dict()
    del older["attend"]
    assert STMGAConfig.from_dict(older) == STMGAConfig()
