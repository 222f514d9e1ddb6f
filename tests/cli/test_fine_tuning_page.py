"""The commands of docs/use/fine-tuning.md, as they are written, in a folder that has nothing but the data it names."""

import re
import shlex

import pytest
from PIL import Image

from stmga.data.walkers.generate import walkers_benchmark
from tests.support.paths import ROOT

FEWER = ["--epochs", 1, "--set", "steps=1", "--set", "persons=4", "--size", 32, 16, "-q"]  # of the last options counts


def commands(page):
    """The ``stmga`` commands of a page's first block of them, as lists of words."""
    block = re.search(r"```bash\n(stmga .*?)```", page, re.DOTALL).group(1)
    return [shlex.split(line)[1:] for line in block.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture(autouse=True)
def _data(tmp_path, monkeypatch):
    """``labelled/{person}/{camera}/{tracklet}`` of 20 walkers and ``crops/{tracklet}``, in an empty current folder."""
    monkeypatch.chdir(tmp_path)
    made = walkers_benchmark(20, 0, cameras=2, tracklets=1, frames=2, size=(64, 32))
    for tracklet in made.train:
        for folder in (f"labelled/{tracklet.person}/{tracklet.camera}/{tracklet.id}", f"crops/{tracklet.id}"):
            (tmp_path / folder).mkdir(parents=True)
            for number, frame in enumerate(tracklet.frames):
                Image.fromarray(frame).save(tmp_path / folder / f"{number}.png")


def test_the_page_works_from_its_own_folders_and_shows_before_and_after(run):
    train, score, embed = commands((ROOT / "docs/use/fine-tuning.md").read_text())
    assert (train[0], score[0], embed[0]) == ("train", "eval", "embed")
    assert "--from" in train and "stmga_resnet18_c4" in train
    code, _, err = run(*train, *FEWER)
    assert code == 0, err
    code, text, err = run(*score, "-q", "--no-speed")
    assert code == 0, err
    first, second = text.splitlines()[-2:]
    assert first.startswith("stmga_resnet18_c4.market_cuhk03 ") and second.startswith("runs/mine/best ")
    code, text, err = run(*embed, "-q")
    assert code == 0, err
    assert "40 256-dimensional vectors" in text
