"""IDF1 over cameras: an identity counts only if it is the same person in all of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy.scenes import Line, lines_of, score, true_lines, wrong
from stmga import read_tracklets
from stmga.data import write_scenes

BOX = "10,10,20,40,1,1,1"


def stay(number: int, frames: int = 10, rest: str = BOX) -> list[Line]:
    return [(frame, number, rest) for frame in range(1, frames + 1)]


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"a": stay(4), "b": stay(4)}, 1.0),
        ({"a": stay(4), "b": stay(5)}, 0.5),  # one of the two is right: 10 of 20 boxes, of both sides
        ({"a": stay(4)}, 2 / 3),  # 10 right, 10 missing: 10 / (10 + 5)
        ({"a": stay(4), "b": stay(4, rest="60,10,20,40,1,1,1")}, 0.5),  # elsewhere in the picture
    ],
)
def test_idf1_is_over_all_cameras(found: dict[str, list[Line]], expected: float) -> None:
    assert score({"a": stay(7), "b": stay(7)}, found, 10)["IDF1"] == pytest.approx(expected)


def test_two_persons_with_one_identity_count_as_one() -> None:
    truth = {"a": stay(1), "b": stay(2, frames=5)}
    assert score(truth, {"a": stay(9), "b": stay(9, frames=5)}, 10)["IDF1"] == pytest.approx(10 / 15)


def test_frames_in_which_a_person_is_hidden_are_not_counted() -> None:
    truth = {"a": [*stay(1), (11, 1, "10,10,20,40,0,1,0.2")]}
    assert score(truth, {"a": stay(1)}, 11)["IDF1"] == 1


def test_true_tracklets_with_their_persons_are_all_right(tmp_path: Path) -> None:
    manifest = write_scenes(tmp_path, cameras=2, persons=8, seconds=12, fps=4, size=(96, 128))
    tracklets = read_tracklets(manifest)
    persons = [int(t.person) for t in tracklets]  # type: ignore[arg-type]
    truth = true_lines(tmp_path)
    assert score(truth, lines_of(tracklets, persons), 48)["IDF1"] == 1
    alone = list(range(1, len(tracklets) + 1))
    assert len(set(persons)) < len(persons)
    assert score(truth, lines_of(tracklets, alone), 48)["IDF1"] < 1


def test_what_goes_wrong_is_counted() -> None:
    counts = wrong([1, 1, 2, 3], ["a", "b", "b", "c"])
    assert counts == {"identities": 3, "mixed identities": 1, "split persons": 1}
