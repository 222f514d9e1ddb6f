"""The suite of benchmarks: what it reads out of them, and that the page shows what is kept."""

import json
import platform
import subprocess
import sys

import pytest

from benchmarks import suite
from benchmarks.speed import allocator, loading
from tests.support.paths import ROOT

RESULTS = ROOT / "benchmarks" / "results"


def test_a_row_says_whether_its_bar_is_met():
    assert suite.Row("a", 1.2, bar=1.2).verdict == "at most 1.2: met"
    assert suite.Row("a", 1.21, bar=1.2).verdict == "at most 1.2: missed"
    assert suite.Row("a", 0.9, bar=0.92, least=True).verdict == "at least 0.92: missed"
    shown = suite.Row("a", 0.4, "0.3-0.5 s", 0.5, unit=" s").markdown()
    assert shown == "| a | 0.4 s | 0.3-0.5 s | at most 0.5 s: met |"
    assert suite.Row("a", 2.0).markdown() == "| a | 2 |  |  |"


def test_the_kept_rows_are_those_of_the_kept_measurements():
    kept = json.loads((RESULTS / "suite.json").read_text())
    assert set(kept["cases"]) == set(suite.CASES)
    for case, (_, rows, _) in suite.CASES.items():
        found = json.loads((RESULTS / f"{case}.json").read_text())
        assert kept["cases"][case]["rows"] == [vars(row) for row in rows(found)], case


def test_the_page_shows_the_kept_table():
    kept = json.loads((RESULTS / "suite.json").read_text())
    assert suite.table(kept) in (ROOT / "docs" / "train" / "benchmarks.md").read_text()


def test_one_case_runs_and_joins_the_table(tmp_path, monkeypatch, capsys):
    """The case in a process of its own, as always, with one weight in one round."""
    name = "stmga_resnet18_c4.market_cuhk03"
    monkeypatch.setitem(suite.CASES, "loading", (["--names", name, "--rounds", "1"], loading.table_rows, None))
    monkeypatch.setattr(sys, "argv", ["suite", "--only", "loading", "--out", str(tmp_path)])
    suite.main()
    printed = capsys.readouterr().out
    assert f"| loading `{name}`" in printed
    kept = json.loads((tmp_path / "suite.json").read_text())
    assert kept["cases"]["loading"]["peak_gb"] > 0
    monkeypatch.setattr(sys, "argv", ["suite", "--table", "--out", str(tmp_path)])
    suite.main()
    assert capsys.readouterr().out.strip() in printed


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="there is no glibc here, which alone keeps freed memory")
def test_sides_in_processes_of_their_own(tmp_path):
    """One case whose sides are processes, at a size at which it takes seconds."""
    file = tmp_path / "allocator.json"
    small = ["--size", "64", "32", "--batch", "4", "--rounds", "2", "--json", file]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.speed.allocator", *small],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(file.read_text())
    assert list(found["sides"]) == ["embedding", "embedding, memory kept", "training", "training, memory kept"]
    for side in found["sides"].values():
        assert len(side["seconds"]) == 2
        assert min(side["seconds"]) > 0
        assert side["peak_gb"] > 0.1
    assert found["sides"]["training"]["time_ratio"] == found["sides"]["training"]["memory_ratio"] == 1
    assert len(list(allocator.table_rows(found))) == 4


def test_a_case_that_fails_ends_the_suite(tmp_path, monkeypatch):
    monkeypatch.setitem(suite.CASES, "loading", (["--rounds", "none"], loading.table_rows, False))
    with pytest.raises(SystemExit, match=r"benchmarks\.speed\.loading failed"):
        suite.run("loading", "cpu", tmp_path)
