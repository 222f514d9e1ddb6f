"""`stmga compare`: images, folders, and rows of embeddings."""

import pytest

from stmga.cli.main import main


@pytest.fixture(name="run")
def run_fixture(capsys):
    def run(*arguments):
        code = main([str(a) for a in arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def crops(place):
    return sorted(folder for folder in (place / "crops").rglob("*") if folder.is_dir() and any(folder.glob("*.jpg")))


def test_rows_of_embeddings_are_compared_without_a_network(run, place):
    from stmga import Embeddings

    file = place / "all.safetensors"
    ids = Embeddings.load(file).ids
    code, out, _ = run("compare", f"{file}:{ids[0]}", f"{file}:{ids[1]}", "--model", "no such model")
    vectors = Embeddings.load(file).vectors
    assert code == 0
    assert f"similarity {float(vectors[0] @ vectors[1]):.3f}" in out
    assert "verdict    none, because the vectors have no calibration" in out


def test_two_folders_of_crops_are_embedded(run, place):
    first, second = crops(place)[:2]
    code, out, _ = run("compare", first, second, "--model", place / "tiny", "--device", "cpu")
    assert code == 0
    assert "of 4 frames and 4 frames" in out


def test_what_is_wrong_is_said(run, place):
    file = place / "all.safetensors"
    code, _, err = run("compare", file, file)
    assert code == 1 and f"write {file}:TRACKLET, one of" in err
    code, _, err = run("compare", f"{file}:nobody", file)
    assert code == 1 and "has no tracklet 'nobody'" in err
    code, _, err = run("compare", "nothing.jpg", file)
    assert code == 1 and "nothing.jpg does not exist" in err
