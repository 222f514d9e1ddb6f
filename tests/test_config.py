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
    with pytest.raises(ValueError, match="STMGAConfig has no setting 'atend'; did you mean 'attend'"):
        STMGAConfig.from_dict({"atend": "mask"})
    with pytest.raises(ValueError, match=r"invalid STMGAConfig: tau must be a finite number, got 'hot'$"):
        STMGAConfig.from_dict({"tau": "hot"})
    with pytest.raises(ValueError, match="table8/s-mga"):
        paper_config("table8/smga")


def test_the_ways_to_attend_are_those_of_the_block_and_an_older_configuration_has_the_papers():
    assert CHOICES["attend"] == ATTEND
    older = STMGAConfig().to_dict()
    del older["attend"]
    assert STMGAConfig.from_dict(older) == STMGAConfig()


def test_all_faults_of_a_configuration_are_in_one_message():
    with pytest.raises(ValueError, match=r"^invalid STMGAConfig: ") as caught:
        STMGAConfig(backbone="resnet19", tau=0, eta=0, size=(256,), parts=None, order="st", s_mga=False)
    assert str(caught.value).removeprefix("invalid STMGAConfig: ").split("; ") == [
        "backbone must be one of 'resnet18', 'resnet34', 'resnet50', 'resnet101', got 'resnet19'",
        "parts must be one of 'cpa', 'stripes', 'none', got None",
        "size must be a list of 2 integers, got [256]",
        'order="st" needs both s_mga and t_mga',
        "tau must be > 0, got 0",
        "eta must be >= 1, got 0",
    ]


def test_what_contradicts_a_value_of_another_type_is_not_said():
    with pytest.raises(ValueError, match=r"^invalid STMGAConfig: parts must be one of [^;]*$"):
        STMGAConfig(parts=None, part_scales=(1,), s_mga=False, t_mga=False, temporal_scales=())
