"""Model cards: their text, and the metadata that the Hub reads."""

import dataclasses
import socket

import pytest
from huggingface_hub import EvalResult, ModelCard

from stmga.calibration import Calibration, Threshold
from stmga.hub.card import model_card
from stmga.hub.metadata import TASK, TASK_NAME, card_data
from tests.support.cards import RECORD, metadata
from tests.support.hub import REPO, tiny


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
    assert "| data | mAP | rank-1 |\n| --- | --- | --- |\n| x\\|y | 0.5 |  |\n| z |  | 0.7 |" in full


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
        "## Speed\n\n| what | frames/s | processor | threads |",
        "```bash\nstmga train --data a\nstmga train --data b --from runs/a/last\n```",
        "one JSON line an epoch: `log.jsonl`",
    ):
        assert words in card, card
    assert (
        "Measured on 40 persons of walkers, half size: 90,000 pairs of different persons, 400 of one person. "
        '`stmga search` says "same" from 0.612'
    ) in " ".join(card.split())
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


@pytest.mark.parametrize(
    ("licence", "key", "name"),
    [
        ("MIT", "mit", None),
        ("CC-BY-4.0", "cc-by-4.0", None),
        ("My: own", "other", "My: own"),
        ("other: research only", "other", "research only"),
        ('the "x" licence: v1', "other", 'the "x" licence: v1'),
        ("", None, None),
    ],
)
def test_the_hub_reads_the_licence(licence, key, name):
    data = metadata(licence=licence)
    assert (data.license, data.license_name) == (key, name)


def test_a_record_that_says_nothing_has_no_results_in_its_metadata():
    data = metadata().to_dict()
    assert data == {"library_name": "stmga", "pipeline_tag": TASK, "tags": data["tags"]}
    assert "person-re-identification" in data["tags"]


def test_the_figures_come_back_from_the_file_as_they_are_in_the_record(tmp_path):
    mars = "MARS (official lists; all frames)"
    record = dataclasses.replace(
        RECORD,
        metrics=(
            {"data": mars, "mAP": 80.1, "rank-1": 86.4, "rank-5": 95.0, "protocol": "cosine: 'all' frames"},
            {"data": mars, "mAP": 85.2, "protocol": "re-ranked"},
            {"data": "LS-VID", "rank-1": "70.1 ± 0.2"},
        ),
        stages=({"data": "walkers"}, {"data": "market1501-867 + cuhk03"}, {"data": "cuhk03"}, {"seed": 3}),
        parent="someone/their-model",
    )
    (tmp_path / "README.md").write_text(model_card(record), encoding="utf-8")
    card = ModelCard.load(tmp_path / "README.md")

    def result(data, kind, figure, value, protocol):
        args = {"protocol": protocol} if protocol else None
        return EvalResult(TASK, kind, data, figure, value, task_name=TASK_NAME, metric_name=figure, metric_args=args)

    assert card.data.eval_results == [
        result(mars, "MARS", "mAP", 80.1, "cosine: 'all' frames"),
        result(mars, "MARS", "rank-1", 86.4, "cosine: 'all' frames"),
        result(mars, "MARS", "mAP", 85.2, "re-ranked"),
        result("LS-VID", "LS-VID", "rank-1", "70.1 ± 0.2", None),
    ]
    assert card.data.eval_results == card_data(record).eval_results
    assert card.data.model_name == "stmga_tiny.test"
    assert card.data.metrics == ["mAP", "rank-1"]
    assert card.data.datasets == ["walkers", "market1501-867", "cuhk03"]
    assert card.data.base_model == "someone/their-model"
    assert card.text.startswith("\n# stmga_tiny.test\n")


def test_results_on_two_forms_of_a_data_set_stay_apart():
    """The Hub joins results whose data sets have one identifier, under the name of the first."""
    data = metadata(metrics=({"data": "MARS", "mAP": 80.1}, {"data": "MARS (half size)", "mAP": 70.2}))
    assert [(r.dataset_name, r.metric_value) for r in data.eval_results] == [("MARS", 80.1), ("MARS (half size)", 70.2)]
    assert len({r.dataset_type for r in data.eval_results}) == 2


def test_names_that_are_no_identifiers():
    entries = {"stages": ({"data": "our yard, 2024"}, {"data": "庭"}), "parent": "stmga_tiny.first"}
    data = metadata(metrics=({"mAP": 1.5}, {"data": "庭", "mAP": 2.5}), **entries)
    assert data.datasets == ["our-yard-2024"]
    assert data.base_model is None  # the name of a weight is no repository
    assert [(r.dataset_name, r.dataset_type) for r in data.eval_results] == [
        ("not stated", "not-stated"),
        ("庭", "庭"),
    ]


def test_saving_opens_no_socket(monkeypatch, tmp_path):
    def never(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", never)
    model = tiny()
    model.save_pretrained(tmp_path, record=dataclasses.replace(RECORD, metrics=({"data": "MARS", "mAP": 80.1},)))
    assert ModelCard.load(tmp_path / "README.md").data.eval_results[0].metric_value == 80.1
