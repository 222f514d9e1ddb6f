"""A saved network in pieces: small enough, whole or named as damaged, and replaced in one step."""

import json

import pytest
import torch
from safetensors.torch import load_file

from benchmarks.tools import pieces
from stmga.hub.records import WeightRecord, WeightsError
from tests.support.train import tiny


@pytest.fixture(name="split")
def split_fixture(tmp_path):
    """A saved network in pieces of at most 300 kB."""
    model = tiny()
    record = WeightRecord(name="", config=model.config, sha256="0" * 64, terms="Ask first.")
    model.save_pretrained(tmp_path / "model", record=record)
    index = pieces.split(tmp_path / "model", tmp_path / "pieces", most=300_000)
    return tmp_path / "pieces", index


def test_no_piece_is_larger_than_asked(split):
    folder, index = split
    sizes = [(folder / row["file"]).stat().st_size for row in index["pieces"]]
    assert sizes == [row["bytes"] for row in index["pieces"]]
    assert 20 < len(sizes) < 60
    assert max(sizes) <= 300_000
    names = [name for row in index["pieces"] for name in load_file(folder / row["file"])]
    assert "backbone.layer3.0.conv2.weight:3" in names  # of 1.2 MB
    joined = pieces.join(folder)
    assert joined.record.terms == "Ask first."
    for name, tensor in tiny().state_dict().items():
        torch.testing.assert_close(joined.state_dict()[name], tensor, rtol=1e-3, atol=1e-6)
    with pytest.raises(pieces.PiecesError, match=r"has rows of more than .* bytes; ask for larger pieces"):
        pieces.split(folder.parent / "model", folder, most=1000)
    assert pieces.join(folder).digest() == joined.digest()  # what was there is whole


def test_pieces_that_are_missing_or_changed_are_named(split):
    folder, index = split
    gone, bad = (index["pieces"][i]["file"] for i in (2, 5))
    (folder / gone).unlink()
    data = bytearray((folder / bad).read_bytes())
    data[-1] ^= 1
    (folder / bad).write_bytes(data)
    with pytest.raises(pieces.PiecesError, match=rf"2 of \d+ pieces: {gone} is missing; {bad} has sha256 .* expected"):
        pieces.join(folder)
    (folder / "index.json").unlink()
    with pytest.raises(pieces.PiecesError, match=r"has no index\.json"):
        pieces.join(folder)
    (folder / "index.json").write_text("{}")
    with pytest.raises(pieces.PiecesError, match="damaged"):
        pieces.join(folder)


def test_a_piece_that_was_left_out_of_the_index_is_missed(split):
    folder, index = split
    (folder / "index.json").write_text(json.dumps(index | {"pieces": index["pieces"][:-1]}))
    with pytest.raises(WeightsError, match=r"missing|of another shape"):  # a tensor may end in the next piece
        pieces.join(folder)


def test_new_pieces_take_the_place_of_the_old(split, tmp_path, monkeypatch):
    """Also when writing fails half way: the index still names the old ones, and all of them are there."""
    folder, _ = split
    before, count, real = pieces.join(folder).digest(), [], pieces.atomic_write

    def full(path, data):
        count.append(path)
        if len(count) == 5:
            raise OSError(28, "No space left on device")
        real(path, data)

    tiny(1).save_pretrained(tmp_path / "other")
    with monkeypatch.context() as patch:
        patch.setattr(pieces, "atomic_write", full)
        with pytest.raises(OSError, match="No space"):
            pieces.split(tmp_path / "other", folder, most=300_000)
    assert pieces.join(folder).digest() == before
    index = pieces.split(tmp_path / "other", folder, most=300_000)
    assert pieces.join(folder).digest() != before
    assert {file.name for file in folder.iterdir()} == {"index.json", *(row["file"] for row in index["pieces"])}
