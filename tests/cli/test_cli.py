"""The command line, through main(argv): the command itself, weights, push and demo."""

import errno
import io
import subprocess
import sys
from dataclasses import replace

import pytest
from PIL import Image

from stmga import STMGA, WeightRecord, __version__
from stmga.calibration import Calibration, Threshold
from stmga.cli import main as cli
from stmga.cli.main import main
from tests.support.cli import TINY

COMMANDS = ("demo", "embed", "search", "weights", "push")


# ---- the command itself


def test_version_costs_little_and_imports_nothing_heavy():
    script = (
        "import sys; from stmga.cli.main import main\n"
        "try: main(['--version'])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "print([m for m in ('torchvision', 'huggingface_hub', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"stmga {__version__}", "[]"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_an_example_and_the_exit_codes(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert f"example:\n  stmga {command} " in text
    assert "exit codes: 0 done" in text


@pytest.mark.parametrize(("typed", "said"), [("serch", "did you mean 'search'?"), ("zzz", "stmga --help lists them")])
def test_a_mistyped_command_gets_the_closest_name(typed, said, capsys):
    with pytest.raises(SystemExit):
        main([typed, "x"])
    assert capsys.readouterr().err.splitlines()[-1] == f"stmga: error: there is no command {typed!r}; {said}"


@pytest.mark.parametrize("argv", [[], ["dance"], ["embed"], ["search", "a", "b", "--top", "0"], ["weights", "--loud"]])
def test_wrong_usage_is_exit_code_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage: stmga" in capsys.readouterr().err


def test_interrupt_is_exit_code_130(run, monkeypatch):
    def interrupted(args):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.COMMANDS, "weights", interrupted)
    code, _, err = run("weights")
    assert code == 130
    assert err == "stmga: interrupted\n"


def test_debug_shows_where(monkeypatch, tmp_path):
    monkeypatch.setenv("STMGA_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        main(["search", str(tmp_path / "none.safetensors"), str(tmp_path / "none.safetensors")])


# ---- weights, push, demo


def test_weights_lists_architectures_and_says_there_are_none(run, monkeypatch, tmp_path):
    monkeypatch.setattr("stmga.hub.records.BUNDLED", tmp_path)
    code, text, _ = run("weights")
    assert code == 0
    for name in ("stmga_resnet50", "stmga_resnet50_light", "stmga_resnet50_c4", "stmga_resnet18_c4"):
        assert name in text
    assert "no trained weights yet" in text
    assert "no architecture 'x*'" in run("weights", "x*")[1]


def test_weights_shows_a_record(run, monkeypatch, tmp_path):
    monkeypatch.setattr("stmga.hub.records.BUNDLED", tmp_path / "stmga" / "weights")
    point = Threshold(false_match_rate=1e-3, similarity=0.6, true_match_rate=0.9)
    model = STMGA(TINY)
    calibration = Calibration(
        thresholds=(point,), lower=0.5, impostor_pairs=9, genuine_pairs=9, persons=3, digest=model.digest()
    )
    record = WeightRecord(
        name="stmga_resnet18_c4.figures", config=TINY, sha256="0" * 64, training_data="rendered figures",
        licence="MIT", terms="for tests", calibration=calibration,
        metrics=({"data": "figures", "mAP": 50.1, "rank-1": 60.2, "protocol": "long words"},),
    )  # fmt: skip
    folder = tmp_path / "stmga" / "weights" / record.name
    model.save_pretrained(folder, record=record)
    size = f"{(folder / 'model.safetensors').stat().st_size / 1e6:.1f} MB"
    for pattern in ("*", "*resnet18*", "stmga_resnet18_c4", "*.figures"):
        _, text, _ = run("weights", pattern)
        assert "stmga_resnet18_c4.figures" in text
        assert f"file       {size}, bundled with the package, not published on the Hub yet\n" in text
        assert "measured   mAP 50.1, rank-1 60.2 on figures\n" in text
        assert 'thresholds "same" from 0.600' in text
        for words in ("rendered figures", "MIT", "for tests"):
            assert words in text
    assert "no trained weights '*50*'" in run("weights", "*50*")[1]
    (tmp_path / "pyproject.toml").touch()
    assert f"{size}, in this checkout, not published on the Hub yet\n" in run("weights")[1]


def test_weights_says_where_a_file_is_that_is_not_here(run, monkeypatch, tmp_path):
    monkeypatch.setattr("stmga.hub.records.BUNDLED", tmp_path)
    record = WeightRecord(name="stmga_resnet50_c4.figures", config=TINY, sha256="0" * 64, file_size=50_000_000)
    (tmp_path / record.name).mkdir()
    config = tmp_path / record.name / "config.json"
    config.write_text(record.to_json())
    assert "50.0 MB, not in this package, not published on the Hub yet\n" in run("weights")[1]
    config.write_text(replace(record, repo_id="me/figures", revision="1f0c" * 10).to_json())
    assert "50.0 MB, not in this package, on the Hub as me/figures@1f0c1f0c1f0c\n" in run("weights")[1]


def test_push_gives_the_line_that_loads_it(place, run, fails, monkeypatch, tmp_path):
    sent, commit = [], "c" * 40

    def push(folder, repo_id, *, build, private):
        assert build is STMGA
        sent.append((folder, repo_id, private))
        return commit

    monkeypatch.setattr("stmga.hub.push", push)
    code, text, _ = run("push", place / "tiny", "me/tiny", "--private")
    assert code == 0
    assert sent == [(str(place / "tiny"), "me/tiny", True)]
    assert f'STMGA.from_pretrained("me/tiny", revision="{commit}")' in text
    monkeypatch.undo()
    assert "config.json" in fails("push", tmp_path, "me/tiny")


def test_demo_draws_and_says_that_it_is_untrained(run, monkeypatch, tmp_path):
    monkeypatch.setattr("stmga.hub.records.BUNDLED", tmp_path / "none")
    code, text, _ = run("demo", "--out", tmp_path / "demo", "--persons", 3, "-q")
    assert code == 0
    assert "NOT TRAINED" in text
    assert "rank-1" in text
    assert "mAP" in text
    assert str(tmp_path / "demo/demo.png") in text
    with Image.open(tmp_path / "demo/demo.png") as image:
        assert image.width > 1000


def test_a_full_disk_leaves_the_old_demo_picture(fails, monkeypatch, tmp_path):
    monkeypatch.setattr("stmga.hub.records.BUNDLED", tmp_path / "none")
    (tmp_path / "demo.png").write_bytes(b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    assert "No space left" in fails("demo", "--out", tmp_path, "--persons", 2, "-q")
    assert (tmp_path / "demo.png").read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["demo.png"]


def test_what_the_terminal_cannot_show_is_escaped(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "ascii"))
    monkeypatch.setitem(cli.COMMANDS, "weights", lambda args: sys.stdout.write("caf\udce9 \u00e9\n"))
    assert main(["weights"]) == 0
    sys.stdout.flush()
    assert sys.stdout.buffer.getvalue() == b"caf\\udce9 \\xe9\n"
