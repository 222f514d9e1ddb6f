"""`stmga teacher`, and a student that `stmga train` trains with it."""

import json

import pytest

from stmga import STMGA
from tests.support.cli import SMALL


@pytest.fixture(scope="module", name="teacher")
def teacher_fixture(data, trained):
    from stmga.cli.main import main

    file = data / "teacher.safetensors"
    arguments = ["teacher", trained / "best", "--data", data / "data/manifest.jsonl", "-o", file, "-q"]
    assert main([str(a) for a in arguments]) == 0
    return file


def test_a_student_learns_from_a_teachers_file(run, data, trained, teacher, tmp_path):
    source = data / "data/manifest.jsonl"
    arguments = ["train", "--data", source, "--recipe", "cpu", "--model", "stmga_resnet18_c4_baseline", "--size", 64,
                 32, "-o", tmp_path / "run", *SMALL]  # fmt: skip
    code, out, err = run(*arguments, "--teacher", teacher)
    assert code == 0, err
    assert [line.split()[0] for line in out.splitlines() if line.startswith("teacher")] == ["teacher"]  # of the table
    log = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert all(row["loss"]["teacher"] > 0 for row in log)
    record = STMGA.from_pretrained(tmp_path / "run/best").record
    assert record.stages[-1]["teacher"] == "run/best"
    code, _, err = run(*arguments)
    assert code == 1
    assert "teacher was {'weights': 'run/best'" in err
    assert "now None" in err
    code, _, err = run(*arguments, "--teacher", teacher)  # the same command resumes, and there is nothing left
    assert code == 0, err


def test_the_teacher_says_what_it_does(run, data, trained, teacher, tmp_path):
    source = data / "data/manifest.jsonl"
    code, out, err = run("teacher", trained / "last", "--data", source, "-o", tmp_path / "t.safetensors", "-q")
    assert code == 0, err
    assert "teacher   run/last, 64 x 32\n" in out
    assert "24 tracklets of 6 persons to train on" in out
    assert "72 frames, plain and mirrored, 256 numbers each" in out
    assert "embed" not in err  # no bar
    code, _, err = run("teacher", trained / "last", "--data", source, "-o", tmp_path / "t.safetensors")
    assert code == 0, err
    assert "144/144" in err


def test_mistakes_with_a_teacher_are_named(fails, data, teacher, tmp_path):
    def error(*arguments, source="data"):
        return fails("train", "--data", data / source / "manifest.jsonl", "--teacher", *arguments, "-o",
                     tmp_path / "run", *SMALL)  # fmt: skip

    assert "vectors of other tracklets than those to train on: 24 tracklets" in error(teacher, source="more")
    assert "is damaged or not a teacher's file" in error(data / "tiny/model.safetensors")
    assert "there is no teacher's file" in error(tmp_path / "nothing.safetensors")
    source = ["--data", data / "data/manifest.jsonl", "-o", tmp_path / "t.safetensors"]
    assert "stmga_resnet50" in fails("teacher", "stmga_resnet50", *source)  # it has no trained weights
    assert "create it first" in fails("teacher", data / "tiny", *source[:2], "-o", tmp_path / "no/t.safetensors")
    assert list(tmp_path.iterdir()) == []
