"""Text in a model card stays text: no markup, no HTML, no end of the metadata."""

import dataclasses

import pytest

from stmga.calibration import Calibration, Threshold
from stmga.hub.card import model_card
from tests.support.cards import RECORD, metadata

EVIL = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "[click](javascript:alert(1))",
    "![x](http://evil/x.png)",
    "*bold* __bold__ ~~gone~~",
    "`code` ``` fence",
    "# heading",
    "> quoted",
    "- item",
    "1. item",
    "| a | b |",
    "---",
    "&lt;b&gt;",
    "two\n\n# lines\n<b>",
    "a\n---\n<b>",
    "\\[x](y)",
    "<!-- hidden",
    "[ref]: http://evil",
    "```\n</code>\n```",
    "    indented",
    "| a |\n| --- |\n| b |",
    "<http://evil>",
    "title\n===",
    "&#60;b&#62;",
    "- [ ] task",
    "$$x$$",
    "--- \nlicense: mit\n---",
)


def texts_of(record):
    """The text of a card's HTML, and the elements that it has."""
    from html.parser import HTMLParser

    markdown = pytest.importorskip("markdown")

    class Reader(HTMLParser):
        def __init__(self):
            super().__init__()
            self.seen, self.words = [], []

        def handle_starttag(self, tag, attrs):
            self.seen.append((tag, tuple(attrs)))

        def handle_comment(self, data):
            self.seen.append(("comment", data))

        def handle_data(self, data):
            self.words.append(data)

    reader = Reader()
    body = model_card(record).partition("\n---\n\n")[2]
    reader.feed(markdown.markdown(body, extensions=["tables", "fenced_code"]))
    return " ".join("".join(reader.words).split()), [tag for tag in reader.seen if tag[0] != "code"]


def told(text):
    points = (Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.4),)
    return dataclasses.replace(
        RECORD,
        metrics=({"data": text, "mAP": 0.5, "protocol": text, "spread": text},),
        elsewhere=({"trained on": text, "data": text, "mAP": 1},),
        stages=({"data": text, "network": text},),
        speed=({"what": text},),
        training_data=text, parent=text.replace("\n", " "), terms=text, licence=text, paper=text, training_command=text,
        calibration=Calibration(
            thresholds=points, lower=0.2, impostor_pairs=9, genuine_pairs=4, persons=4, digest="1f0c", data=text,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("text", EVIL)
def test_a_text_is_text_and_no_markup(text):
    """A renderer makes the same elements of it as of plain words, and shows the text itself."""
    plain_words, plain = texts_of(told("plain words"))
    words, elements = texts_of(told(text))
    assert elements == plain
    shown = " ".join(text.split())
    assert words.count(shown) >= plain_words.count("plain words") - 2  # the block of code keeps its lines


@pytest.mark.parametrize("text", EVIL)
def test_a_text_that_is_wrapped_is_text_and_no_markup(text):
    """Prose is broken into lines: what then begins a line is still no heading, list or rule."""
    plain = texts_of(told("plain words"))[1]
    for before in range(19, 24):
        words, elements = texts_of(told("word " * before + text))
        assert elements == plain, before
        assert " ".join(text.split()) in words


@pytest.mark.parametrize("text", EVIL)
def test_a_text_does_not_end_the_metadata(text):
    data = metadata(licence=text, metrics=({"data": text, "mAP": 0.5, "protocol": text},), stages=({"data": text},))
    assert data.library_name == "stmga"
    assert data.eval_results[0].dataset_name == " ".join(text.split())
    assert data.to_dict().keys() <= {
        "library_name", "pipeline_tag", "license", "license_name", "tags", "datasets", "metrics", "model-index",
    }  # fmt: skip


def test_a_repository_in_a_card_is_one():
    for name in ('a/b"); import os; os.system("x', "../../etc", "a/b\n"):
        with pytest.raises(ValueError, match="repo_id must be 'owner/name'"):
            dataclasses.replace(RECORD, repo_id=name)
    assert metadata(parent="a/b](http://evil)").base_model is None
