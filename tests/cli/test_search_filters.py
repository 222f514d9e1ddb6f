"""`stmga search` with conditions on queries and gallery, in embeddings files and in a gallery in a file."""

import json

import pytest

from stmga import Embeddings, Gallery
from tests.support.vectors import people

NOON = 1795863600.0  # 2026-11-28T11:00:00Z


@pytest.fixture
def file(tmp_path):
    """Twelve tracklets of three cameras and four persons, a minute apart; the last has no times."""
    items = [
        {"tracklet": f"t{i}", "camera": ("door", 2, "hall")[i % 3], "person": i // 3, "role": "ab"[i % 2]}
        | ({"time": NOON + 60 * i, "end_time": NOON + 60 * i + 5} if i < 11 else {})
        for i in range(12)
    ]
    path = tmp_path / "all.safetensors"
    Embeddings(people(12), items, digest="1f").save(path)
    return path


@pytest.fixture
def database(file, tmp_path):
    """The same, and one that was removed before."""
    path = tmp_path / "people.db"
    everything = Embeddings.load(file)
    with Gallery.open(path) as gallery:
        gallery.add(Embeddings(people(1), [{"tracklet": "gone"}], digest="1f"))
        gallery.add(everything)
        gallery.remove(["gone"])
    return path


@pytest.fixture
def found(run, tmp_path):
    def ask(queries, gallery, *options):
        out = tmp_path / "m.jsonl"
        code, text, err = run("search", queries, gallery, "--top", 99, *options, "-o", out)
        assert code == 0, err
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        return {line["query"]["tracklet"]: {m["tracklet"] for m in line["matches"]} for line in lines}, text, err

    return ask


def only(conditions):
    return [word for condition in conditions for word in ("--gallery-where", condition)]


@pytest.mark.parametrize(
    ("conditions", "wanted"),
    [
        (["camera=2"], {1, 4, 7, 10}),
        (["camera=2", "camera=hall"], {1, 2, 4, 5, 7, 8, 10, 11}),
        (["camera=2", "person=1"], {4}),
        (["person=1", "person=3"], {3, 4, 5, 9, 10, 11}),
        ([f"time={NOON + 60}..{NOON + 180}"], {1, 2, 3}),
        ([f"time={NOON + 65.5}..{NOON + 120}"], {2}),
        (["time=2026-11-28T12:08:00+01:00.."], {8, 9, 10}),
        (["time=..2026-11-28T11:01:00Z", "camera=door"], {0}),
    ],
)
@pytest.mark.parametrize("rerank", [(), ("--rerank",)])
def test_only_a_part_of_the_gallery_is_searched(file, database, found, conditions, wanted, rerank):
    for gallery in (file, database):
        answers, text, _ = found(file, gallery, *only(conditions), *rerank)
        names = {f"t{i}" for i in wanted}
        assert answers == {f"t{i}": names - {f"t{i}"} for i in range(12)}
        assert f"only: {', '.join(conditions)}" in text


def test_a_filter_does_not_change_the_order_of_reranking(file, run, tmp_path):
    orders = []
    for options in ((), ("--gallery-where", "camera=hall")):
        out = tmp_path / "m.jsonl"
        assert run("search", file, file, "--top", 99, "--rerank", *options, "-o", out)[0] == 0
        lines = [json.loads(line)["matches"] for line in out.read_text().splitlines()]
        orders.append([[m["tracklet"] for m in line if m["camera"] == "hall"] for line in lines])
    assert orders[0] == orders[1]


def test_other_keys_choose_the_rows_of_files(file, found):
    answers, text, _ = found(file, file, "--gallery-where", "role=b", "--where", "person=0", "--where", "camera=door")
    assert answers == {"t0": {f"t{i}" for i in range(1, 12, 2)}}
    assert "1 queries in 6 tracklets" in text


def test_queries_of_a_time(file, found, caplog):
    answers, _, _ = found(file, file, "--where", f"time={NOON + 500}..")
    assert set(answers) == {"t9", "t10"}
    assert "1 tracklets have no times and are left out" in caplog.text


def test_the_score_is_that_of_the_part_that_was_searched(file, found):
    plain = found(file, file)[1]
    part = found(file, file, *only(["camera=hall"]))[1]
    assert "mAP" in plain and "mAP" in part
    assert "mAP" not in found(file, file, *only(["camera=hall"]), "--rerank")[1]


def test_pictures_and_pages_of_a_gallery_in_a_file(file, database, found, tmp_path):
    pytest.importorskip("jinja2")
    answers, text, _ = found(file, database, "--html", tmp_path / "page", "--no-pictures")
    assert len(answers) == 12
    assert (tmp_path / "page/report.html").exists()
    assert "12 queries in 12 tracklets" in text


def test_conditions_that_cannot_be_used(file, database, fails):
    for text, words in {
        "camera=yard": "the gallery has no camera yard",
        "person=9": "the gallery has no person 9",
        "time=12": "a time is FROM..TO",
        "time=..": "a time is FROM..TO",
        "time=noon..": "a date with a time zone as 2026-11-28T10:00:00+01:00; got 'noon'",
        "time=2026-11-28T10:00:00..": "a date with a time zone",
        "time=9..3": "after=9 is later than before=3",
        "role": "expected key=value",
    }.items():
        assert words in fails("search", file, file, "--gallery-where", text)
    twice = only(["time=1..2", "time=3..4"])
    assert "expected one time=FROM..TO, got 1..2 and 3..4" in fails("search", file, file, *twice)
    assert "no tracklet in that time" in fails("search", file, file, "--where", "time=1..2")
    assert "not by role" in fails("search", file, database, "--gallery-where", "role=b")
    assert "is searched alone" in fails("search", file, database, file)


def test_a_file_that_is_no_gallery(file, fails, tmp_path):
    bad = tmp_path / "people.db"
    bad.write_bytes(b"x" * 5000)
    assert "people.db" in fails("search", file, bad)
    assert bad.read_bytes() == b"x" * 5000
