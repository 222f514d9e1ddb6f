"""`stmga adapt`: what it prints and writes, that kills do not change its result, and its messages for bad input."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest

from stmga import STMGA
from stmga.cli.main import main
from stmga.data.walkers.render import write_walkers
from stmga.train import AdaptConfig
from tests.support.adapt import small
from tests.support.paths import ROOT
from tests.support.train import assert_same

QUICK = ["--rounds", "2", "--steps", "3", "--lr", "1e-4", "-q"]
QUICK += [word for setting in ("persons=4", "frames=4", "keep=0.9", "start_share=0") for word in ("--set", setting)]


@pytest.fixture(scope="module", name="place")
def place_fixture(tmp_path_factory):
    """A manifest of 56 tracklets of walkers, and the weights to start from."""
    folder = tmp_path_factory.mktemp("adapt")
    write_walkers(folder / "yard", 14, cameras=2, tracklets=2, frames=4, size=(64, 32))
    small().save_pretrained(folder / "small")
    return folder


def words_of(place, out, *more):
    arguments = ["adapt", place / "yard/manifest.jsonl", "--from", place / "small", "-o", out, *QUICK, *more]
    return [str(a) for a in arguments]


def test_help_and_page_state_the_defaults_of_the_settings(capsys):
    with pytest.raises(SystemExit):
        main(["adapt", "--help"])
    told = dict(re.findall(r"--([a-z-]+) [A-Z]+ .*?\(default: ([^):]+)\)", " ".join(capsys.readouterr().out.split())))
    defaults, page = AdaptConfig(), (ROOT / "docs/use/adapt.md").read_text()
    for name in ("rounds", "steps", "lr", "seed"):
        assert float(told[name]) == getattr(defaults, name)
    assert f"`--rounds {defaults.rounds} --steps {defaults.steps}`" in page
    assert float(re.search(r"`--lr (\S+)`", page)[1]) == defaults.lr
    assert f"{defaults.steps} batches of {defaults.persons} identities" in page


@pytest.fixture(scope="module", name="whole")
def whole_fixture(place):
    assert main(words_of(place, place / "whole")) == 0
    return place / "whole"


def test_it_prints_a_line_for_every_round_and_says_what_was_kept(run, place, whole):
    code, out, err = run(*words_of(place, whole))  # finished: it prints the same again
    assert code == 0, err
    assert "site      56 tracklets of 2 known cameras\n" in out
    assert "no tracklet has times: nothing is known of who was seen at the same time" in out
    assert "persons   are known for some tracklets, and are not used" in out
    table = out[out.index("\nround") :].splitlines()
    assert table[1].split()[:2] == ["round", "score"]
    assert [line.split()[0] for line in table[2:5]] == ["0", "1", "2"]
    assert "kept      " in out
    assert f"stmga embed SOURCE --model {whole}/best" in out
    assert "have no times" not in err  # it is said once, above
    record = STMGA.from_pretrained(whole / "best").record
    assert "yard: 56 tracklets, adapted without labels" in record.training_data


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def test_killed_again_and_again_it_ends_with_the_same_weights(place, whole, tmp_path):
    """SIGKILL three times: in the first training, after the first round, and anywhere."""
    folder, dice = tmp_path / "site", random.Random(4)
    command = [sys.executable, "-m", "stmga", *words_of(place, folder)]
    marks = [
        folder / "round-1" / "run.json",
        folder / "linked-1" / "whole.safetensors",
        folder / "round-2" / "run.json",
    ]
    for mark in marks:
        process = subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 120
        while not mark.exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(dice.uniform(0, 0.3))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    last = subprocess.run(command, env=ONE_THREAD, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr
    assert_same(folder / "round-2", whole / "round-2")
    for file in ("model.safetensors", "config.json", "README.md"):
        assert (folder / "best" / file).read_bytes() == (whole / "best" / file).read_bytes()
    assert [path.name for path in folder.rglob("*.tmp")] == []


def test_a_signal_leaves_a_checkpoint_and_a_word(place, whole, tmp_path):
    folder = tmp_path / "site"
    command = [sys.executable, "-m", "stmga", *words_of(place, folder)]
    process = subprocess.Popen(command, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (folder / "round-1" / "run.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    if process.returncode == 128 + signal.SIGTERM:  # it was between two steps; else it had not begun, and just ended
        assert "run the same command to resume" in errors
    else:
        assert process.returncode == -signal.SIGTERM
    assert "Traceback" not in errors
    subprocess.run(command, check=True, env=ONE_THREAD, capture_output=True)
    assert_same(folder / "round-2", whole / "round-2")


def test_other_tracklets_in_the_folder_are_refused(fails, place, whole, tmp_path):
    lines = (place / "yard/manifest.jsonl").read_text().splitlines()
    fewer = place / "yard/fewer.jsonl"
    fewer.write_text("\n".join(lines[:-1]) + "\n")
    message = fails("adapt", fewer, "--from", place / "small", "-o", whole, *QUICK)
    assert "is the adaptation of other tracklets, weights or settings" in message
    assert "the tracklets were others" in message


def test_mistakes_are_named(fails, place, tmp_path):
    source = place / "yard/manifest.jsonl"
    out = tmp_path / "site"
    assert "there are no trained weights 'nothing'" in fails("adapt", source, "--from", "nothing", "-o", out)
    assert "does not exist" in fails("adapt", tmp_path / "missing", "-o", out)
    assert "keep must be in 0..1, and more than 0, got 2" in fails("adapt", source, "-o", out, "--set", "keep=2")
    assert "did you mean 'singles'?" in fails("adapt", source, "-o", out, "--set", "single=false")
    few = place / "yard/few.jsonl"
    few.write_text("\n".join(source.read_text().splitlines()[:10]) + "\n")
    assert "at least 50 tracklets, got 10" in fails("adapt", few, "-o", out)
    assert not out.exists()


def test_one_camera_is_said(run, place, tmp_path):
    rows = [json.loads(line) for line in (place / "yard/manifest.jsonl").read_text().splitlines()]
    one = place / "yard/one.jsonl"
    one.write_text("".join(json.dumps(row | {"camera": "door"}) + "\n" for row in rows))
    code, out, err = run("adapt", one, "--from", place / "small", "-o", tmp_path / "site", *QUICK, "--only-norms")
    assert code == 0, err
    assert "one camera only (door): nothing can be learnt about people in two" in out
    assert len((tmp_path / "site/rounds.jsonl").read_text().splitlines()) == 2
