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


@pytest.mark.parametrize(
    "wrong",
    [
        {"part_scales": (1, 10**9)},
        {"part_scales": (1,) * 5000},
        {"part_scales": (1.0, 2.0, 4.0)},
        {"part_scales": (True,)},
        {"temporal_scales": (10**9 + 1,)},
        {"temporal_scales": (1,) * 9},
        {"relation_dim": 10**12},
        {"relation_dim": 12.5},
        {"gamma": 10**40},
        {"gamma": 16.5},
        {"eta": True},
        {"clip_length": 10**7},
        {"clip_length": 1.5},
        {"size": (10**9, 10**9)},
        {"size": (True, True)},
        {"size": (2048, 2048), "clip_length": 64},  # each of them alone would do
        {"size": (32.5, 16)},
        {"tau": float("nan")},
        {"tau": float("inf")},
        {"tau": 1e-320},
        {"tau": True},
        {"mean": (float("nan"),) * 3},
        {"mean": (4.85, 0.456, 0.406)},
        {"std": (float("inf"),) * 3},
        {"std": (1e-320,) * 3},
    ],
    ids=lambda wrong: ",".join(wrong),
)
def test_what_would_not_fit_into_memory_or_is_no_number_is_refused(wrong):
    with pytest.raises(ValueError, match="invalid STMGAConfig") as caught:
        STMGAConfig(**wrong)
    assert len(str(caught.value)) < 300 and next(iter(wrong)) in str(caught.value)


def test_the_bounds_themselves_are_allowed():
    assert STMGAConfig(size=(256, 128), clip_length=1024).clip_length == 1024
    assert STMGAConfig(size=(2048, 2048), relation_dim=8192, part_scales=(1, 64)).n_parts == 65
    assert STMGAConfig(mean=(0, 0, 0), std=(1, 1, 1)).mean == (0, 0, 0)


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
        "parts must be one of 'cpa', 'stripes', 'none', got None",
        "size must be a list of 2 integers, got [256]",
        "backbone must be one of 'resnet18', 'resnet34', 'resnet50', 'resnet101', 'resnet18_ibn', 'resnet34_ibn', "
        "'resnet50_ibn', 'resnet101_ibn', 'timm:NAME' or 'custom', got 'resnet19'",
        "eta must be from 1 to 4096, got 0",
        "tau must be from 0.0001 to 10000, got 0",
        'order="st" needs both s_mga and t_mga',
    ]


def test_what_contradicts_a_value_of_another_type_is_not_said():
    with pytest.raises(ValueError, match=r"^invalid STMGAConfig: parts must be one of [^;]*$"):
        STMGAConfig(parts=None, part_scales=(1,), s_mga=False, t_mga=False, temporal_scales=())
