"""--max-pixels: one limit for every command that reads images."""

import pytest

COMMANDS = {
    "embed": lambda place, out: ("embed", place / "crops/manifest.jsonl", "-o", out, "--model", place / "tiny", "-q"),
    "eval": lambda place, out: (
        "eval",
        "--data",
        place / "crops/manifest.jsonl",
        "-o",
        out,
        "--model",
        place / "tiny",
        "-q",
    ),
    "train": lambda place, out: ("train", "--data", place / "crops/manifest.jsonl", "-o", out),
    "pack": lambda place, out: ("pack", place / "crops/manifest.jsonl", out, "-q"),
    "teacher": lambda place, out: ("teacher", place / "tiny", "--data", place / "crops/manifest.jsonl", "-o", out),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_lower_limit_refuses_and_says_which_would_do(place, fails, tmp_path, command):
    out = tmp_path / "out.json"
    err = fails(*COMMANDS[command](place, out), "--max-pixels", "2000")
    assert "32 x 64 pixels are more than the limit of 2,000" in err
    assert "read the tracklets with --max-pixels 2048" in err
    assert not out.exists()


@pytest.mark.parametrize("command", ["embed", "pack"])
def test_the_limit_that_the_message_names_will_do(place, run, tmp_path, command):
    asked = COMMANDS[command](place, tmp_path / "out.safetensors")
    assert run(*asked, "--max-pixels", "2048")[0] == 0


def test_pictures_of_a_search(place, run, fails, tmp_path):
    embeddings = place / "all.safetensors"
    asked = ("search", embeddings, embeddings, "--picture", tmp_path / "ranked.png")
    assert run(*asked, "--max-pixels", "2048")[0] == 0
    assert "--max-pixels 2048" in fails(*asked, "--max-pixels", "2047")


def test_official_data_sets_have_no_large_pictures(fails, tmp_path):
    err = fails("eval", "--data", tmp_path, "--dataset", "mars", "--max-pixels", "9")
    assert "the pictures of MARS are small: leave --max-pixels out, got 9" in err
