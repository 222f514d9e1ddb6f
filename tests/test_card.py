"""The model card: what the record says, and no more, in a form that the Hub accepts."""

import dataclasses

from hub_fixtures import REPO, TINY

from stmga.calibration import Calibration, Threshold
from stmga.hub.card import model_card
from stmga.hub.records import WeightRecord

RECORD = WeightRecord(name="stmga_tiny.test", config=TINY, sha256="0" * 64, repo_id=REPO, revision="1" * 40)


def test_the_card_says_what_the_record_says_and_no_more():
    bare = model_card(RECORD)
    assert "license" not in bare
    assert "None measured." in bare
    assert "does not say what it was trained on" in bare
    assert f'from_pretrained("{REPO}", revision="{"1" * 40}")' in bare
    for part in ("## What a similarity means", "## Speed", "## Training\n", "**Terms:**", " MB"):
        assert part not in bare
    full = model_card(
        dataclasses.replace(RECORD, licence="MIT", metrics=({"data": "x|y", "mAP": 0.5}, {"data": "z", "rank-1": 0.7}))
    )
    assert "license: mit" in full
    assert "| data | mAP | rank-1 |\n| --- | --- | --- |\n| x\\|y | 0.5 |  |\n| z |  | 0.7 |" in full
    assert 'license: other\nlicense_name: "My: own"' in model_card(dataclasses.replace(RECORD, licence="My: own"))
    other = dataclasses.replace(RECORD, licence="other: research only")
    assert 'license: other\nlicense_name: "research only"' in model_card(other)


def test_the_card_of_a_weight_that_was_measured():
    calibration = Calibration(
        thresholds=(Threshold(false_match_rate=1e-3, similarity=0.6123, true_match_rate=0.4567),),
        lower=0.2, impostor_pairs=90_000, genuine_pairs=400, persons=40, digest="1f0c", data="walkers, half size",
    )  # fmt: skip
    record = dataclasses.replace(
        RECORD,
        file_size=11_600_000,
        metrics=(
            {"data": "walkers", "mAP": 57.1, "protocol": "cosine; all frames", "seeds": 3, "spread": "mAP 56.8-57.4"},
        ),
        calibration=calibration,
        speed=({"what": "network alone", "frames/s": 61, "processor": "a CPU", "threads": 2},),
        training_data="rendered figures",
        terms="research only: rendered for research",
        training_command="stmga train --data a\nstmga train --data b --from runs/a/last",
        log="log.jsonl",
    )
    card = model_card(record)
    for words in (
        ", 11.6 MB, sha256 `000",
        "rendered figures\n\n**Terms:** research only: rendered for research\n\nLicence",
        "| data | mAP |\n| --- | --- |\n| walkers | 57.1 |\n\n"
        "- Protocol: cosine; all frames\n- Seeds: 3\n- Spread: mAP 56.8-57.4\n\n## Other places\n\n",
        "before you rely on an answer.\n\n## What a similarity means",
        "| 0.001 | 0.6123 | 45.67% |",
        "Measured on 40 persons of walkers, half size: 90,000 pairs of different persons, 400 of one person.",
        '`stmga search` says "same" from 0.612',
        "## Speed\n\n| what | frames/s | processor | threads |",
        "```bash\nstmga train --data a\nstmga train --data b --from runs/a/last\n```",
        "one JSON line an epoch: `log.jsonl`",
    ):
        assert words in card, card
    assert card.count("walkers, half size") == 1


def test_the_card_answers_what_users_ask():
    points = ({"false_match_rate": 1e-2, "similarity": 0.42513, "true_match_rate": 0.8054},)
    rules = {"protocol": "cosine; 3 of 9 tracklets are left out"}
    pairs = (("1", "2", 77.2), ("2", "1", 64.0), ("10", "2", 50.0))
    record = dataclasses.replace(
        RECORD,
        metrics=({"data": "walkers", "mAP": 57.1},),
        frames=({"frames": 1, "mAP": 40.2, "rank-1": 61.0, "thresholds": points}, {"frames": 8, "mAP": 57.1}),
        camera_pairs=tuple(
            {"query camera": q, "gallery camera": g, "queries": 9, "mAP": 51.3, "rank-1": rank, **rules}
            for q, g, rank in pairs
        ),
        elsewhere=({"trained on": "CUHK03 alone", "data": "walkers", "mAP": 12.5, "protocol": "cosine"},),
        training_data="rendered figures",
        stages=({"data": "figures", "seed": 0, "started from": "random weights"}, {"data": "walkers", "seed": 3}),
        parent="stmga_tiny.first",
    )
    card = model_card(record)
    for words in (
        "| frames | mAP | rank-1 | similarity at 0.01 |\n| --- | --- | --- | --- |\n"
        "| 1 | 40.2 | 61.0 | 0.4251 (80.5%) |\n| 8 | 57.1 |  |  |",
        "| query, gallery | 1 | 2 |\n| --- | --- | --- |\n| 1 | - | 77.2 / 51.3 (9) |\n| 2 | 64.0 / 51.3 (9) | - |\n"
        "| 10 | - | 50.0 / 51.3 (9) |\n\n- Protocol: cosine; 3 of 9 tracklets are left out\n\n## Other places",
        "A score on one data set says nothing about another place",
        "| trained on | data | mAP |\n| --- | --- | --- |\n| CUHK03 alone | walkers | 12.5 |\n\n- Protocol: cosine",
        "rendered figures\n\nStarted from `stmga_tiny.first`, whose terms and licence hold here too.\n\n"
        "| stage | data | seed | started from |\n| --- | --- | --- | --- |\n| 1 | figures | 0 | random weights |\n"
        "| 2 | walkers | 3 |  |",
    ):
        assert words in card, card
    alone = model_card(dataclasses.replace(RECORD, metrics=record.metrics))
    assert "A score on one data set says nothing about another place" in alone  # with or without a figure
    for words in ("## Frames", "## Pairs", "Networks of this kind", "Started from", "| stage |"):
        assert words not in alone
    assert "## Other places" not in model_card(RECORD)


def test_the_limits_name_what_goes_wrong():
    card = model_card(RECORD)
    for limit in ("Camera angle", "Resolution", "Occlusion", "Clothing", "Misuse"):
        assert f"- **{limit}.**" in card
    assert "resized to 32 x 16 pixels" in card
    assert "{" not in card.partition("## Limits")[2]


def test_the_card_is_one_that_the_hub_accepts():
    from huggingface_hub import ModelCard

    record = dataclasses.replace(RECORD, licence='the "x" licence: v1')
    data = ModelCard(model_card(record)).data.to_dict()
    assert data["library_name"] == "stmga"
    assert data["license"] == "other"
    assert data["license_name"] == 'the "x" licence: v1'
    assert "person-re-identification" in data["tags"]
