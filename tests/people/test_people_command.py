"""`stmga people`: from videos to a page in one go; what is there is used again."""

import json
import shutil

import pytest

from stmga.cli.main import main
from stmga.tracklets.track_file import read_track_file


def rows_of(folder):
    return [json.loads(line) for line in (folder / "people" / "identities.jsonl").read_text().splitlines()]


@pytest.fixture(name="run")
def run_fixture(crossing, tmp_path, capsys):
    """Runs the command over two cameras that show the same street, and returns exit code and printed lines."""
    out = tmp_path / "who"
    for name in ("door", "hall"):
        shutil.copy(crossing[0], tmp_path / f"{name}.mp4")

    def run(*options, cameras=("door", "hall")):
        code = main(["people", *(str(tmp_path / f"{name}.mp4") for name in cameras), "-o", str(out), "-q", *options])
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    run.out = out
    return run


def test_two_people_before_two_cameras_are_two_persons(run):
    pytest.importorskip("jinja2")
    code, text = run("--video")
    assert code == 0, text
    rows = rows_of(run.out)
    assert {row["camera"] for row in rows} == {"door", "hall"}
    by_camera = [[row["identity"] for row in rows if row["camera"] == camera] for camera in ("door", "hall")]
    assert by_camera == [[1, 2], [1, 2]], text
    files = {str(path.relative_to(run.out)) for path in run.out.rglob("*") if path.is_file()}
    assert {
        "tracks/manifest.jsonl", "tracks/door.txt", "tracks/hall.txt", "vectors/tracklets.safetensors",
        "people/manifest.jsonl", "people/door.txt", "people/hall.txt", "people/identities.csv", "people/report.html",
        "people/door.mp4", "people/hall.mp4",
    } <= files  # fmt: skip
    assert {row.track for row in read_track_file(run.out / "people" / "door.txt").rows} == {1, 2}
    assert "threshold that of the weights (one camera saw 2 pairs" in text
    assert "clocks    unknown for 4 tracklets" in text
    assert "frames/s" in text
    persons = [json.loads(line)["person"] for line in (run.out / "people" / "manifest.jsonl").read_text().splitlines()]
    assert sorted(persons) == ["id-1", "id-1", "id-2", "id-2"]


def test_the_same_command_uses_what_is_there_and_others_are_refused(run):
    assert run("--no-pictures")[0] == 0
    before = {path: path.stat().st_mtime_ns for path in (run.out / "vectors").iterdir()}
    code, text = run("--no-pictures", "--threshold", "1.9")  # linking alone changes
    assert code == 0
    assert "(done before)" in text
    assert "(made before)" in text
    assert {path: path.stat().st_mtime_ns for path in (run.out / "vectors").iterdir()} == before
    assert len({row["identity"] for row in rows_of(run.out)}) == 4
    assert not (run.out / "people" / "pictures").exists()
    code, text = run("--frames", "3")
    assert code == 1
    assert "frames was 8, now 3" in text
    code, text = run("--min-frames", "9")
    assert code == 1
    assert "--min-frames was not given, now 9" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "foo"], "there are no trained weights 'foo'"),
        (["--threshold", "7"], "must be a score in -1..2, got 7"),
        (["--false-match-rate", "5"], "measured are"),
        (["--threshold", "0.5", "--false-match-rate", "0.001"], "not both"),
        (["--travel", "door:hall=1..2"], "add --start door=TIME"),
        (["--travel", "door:cellar=1..2", "--start", "door=2026-11-28T10:00:00Z"], "the cameras are door, hall"),
    ],
)
def test_wrong_options_are_refused_before_any_work(run, options, words):
    code, text = run(*options)
    assert code == 1
    assert words in text
    assert not run.out.exists()


def test_an_empty_name_and_a_file_are_no_folders(run, tmp_path, capsys):
    for name, words in (("", "-o is empty"), (str(tmp_path / "door.mp4"), "is a file; give -o the name of a folder")):
        assert main(["people", str(tmp_path / "door.mp4"), "-o", name]) == 1
        assert words in capsys.readouterr().err


def test_two_videos_of_one_camera_are_refused(run):
    code, text = run(cameras=("door", "door"))
    assert code == 1
    assert "NAME=" in text
    assert not run.out.exists()


def test_pictures_and_none_contradict_each_other(run):
    code, text = run("--video", "--no-pictures")
    assert code == 1
    assert "--video shows people" in text


def test_enough_people_seen_together_measure_the_threshold(run, monkeypatch):
    monkeypatch.setattr("stmga.cli.people.ENOUGH", 2)
    monkeypatch.setattr("stmga.people.unlabelled.RATES", (0.3,))
    code, text = run("--no-pictures")
    assert code == 0, text
    assert "threshold measured on these videos" in text
    assert "this site, without labels" in text
    assert (run.out / "vectors" / "halves.safetensors").is_file()


def test_drawn_videos_of_an_earlier_result_do_not_stay(run):
    assert run("--video")[0] == 0
    people = run.out / "people"
    assert run()[0] == 0
    assert (people / "door.mp4").exists()  # the same result
    code, text = run("--threshold", "1.9")
    assert code == 0
    assert "removed   door.mp4, hall.mp4: an earlier result was drawn in" in text
    assert not list(people.glob("*.mp4"))
    (people / "mine.mp4").write_bytes(b"")
    assert run("--video")[0] == 0
    shutil.rmtree(people / "pictures")
    code, text = run("--no-pictures")
    assert code == 1
    assert "has videos of people of an earlier run (door.mp4, hall.mp4)" in text
    for name in ("door", "hall"):
        (people / f"{name}.mp4").unlink()
    assert run("--no-pictures")[0] == 0
    assert (people / "mine.mp4").exists()
