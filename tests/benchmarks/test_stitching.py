"""The benchmark of stitching: detections from the truth, trackers, scores over cameras, and the best joining."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("trackers")
pytest.importorskip("trackeval")

from benchmarks.accuracy.stitching import TRACKERS, detections, oracle, scored, tracked


def walk(person: int, frames: range, left: int = 10) -> list[tuple[float, ...]]:
    return [(frame, person, left + 2 * frame, 20, 30, 80) for frame in frames]


# One person, who is away for two seconds at twelve frames per second, and another who is always seen.
TRUTH = np.array(sorted([*walk(1, range(1, 25)), *walk(1, range(49, 73)), *walk(2, range(1, 73), 300)]), dtype=float)


def test_who_is_hidden_is_not_detected(tmp_path):
    lines = ["1,5,10,20,30,80,1,1,0.9", "2,5,12,20,30,80,1,1,0.4", "3,5,14,20,30,80,1,1,0.5"]
    (tmp_path / "cam1.txt").write_text("\n".join(lines) + "\n")
    assert detections(tmp_path / "cam1.txt").tolist() == [[1, 5, 10, 20, 30, 80], [3, 5, 14, 20, 30, 80]]


@pytest.mark.parametrize("name", TRACKERS)
def test_a_tracker_cuts_a_stay_in_two_and_the_oracle_joins_it(name):
    rows = tracked(TRUTH, 72, 12, name)
    assert len(set(rows[:, 1])) == 3
    joined = oracle(rows, TRUTH)
    assert len(set(joined[:, 1])) == 2
    broken, whole = (scored([TRUTH, TRUTH], [one, one], 72) for one in (rows, joined))
    assert broken["IDF1"] < whole["IDF1"]
    assert (broken["switches"], whole["switches"]) == (2, 0)
    assert (broken["tracks"], whole["tracks"]) == (6, 4)  # the ids of two cameras are not the same people


def test_the_oracle_does_not_join_pieces_that_overlap():
    rows = np.array([*walk(7, range(1, 6)), *walk(8, range(5, 9))], dtype=float)
    truth = rows.copy()
    truth[:, 1] = 1
    assert sorted(set(oracle(rows, truth)[:, 1])) == [7, 8]
