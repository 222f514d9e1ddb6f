"""A file where a folder of weights is expected, and files of types that parameters are not stored in."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import stmga
from stmga.hub import WeightsError
from stmga.model import STMGA
from tests.support.embedder import TINY, build


@pytest.fixture(name="files", scope="module")
def files_fixture(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("files")
    model = build(TINY)
    model.save_pretrained(root / "saved")
    files = {name: root / f"best.{name}" for name in ("pth", "safetensors", "txt", "mp4", "pt2")}
    torch.save(model.state_dict(), files["pth"])
    save_file(model.state_dict(), files["safetensors"])
    for name in ("txt", "mp4", "pt2"):
        files[name].write_bytes(b"hello")
    return files | {"inside": root / "saved" / "model.safetensors"}


ADVICE = {
    "pth": r"a pickle, which can run code.*torch\.load\(.*best\.pth', weights_only=True\)\), then model\.",
    "safetensors": r"safetensors\.torch\.load_file\(",
    "txt": "config.json and model.safetensors",
    "mp4": "config.json and model.safetensors",
    "pt2": r"ExportedModel\('.*best\.pt2'\)",
    "inside": r"Give its folder, '.*saved'",
}
LOADERS = {
    "weights=": lambda path: stmga.create_model("stmga_resnet18_c4", weights=path),
    "weights=str": lambda path: stmga.create_model("stmga_resnet18_c4", weights=str(path)),
    "name": lambda path: stmga.create_model(str(path)),
    "from_pretrained": STMGA.from_pretrained,
    "from_pretrained(str)": lambda path: STMGA.from_pretrained(str(path)),
    "get_weights": lambda path: stmga.get_weights(str(path)),
    "get_transform": lambda path: stmga.zoo.get_transform(path),
}


@pytest.mark.parametrize("kind", ADVICE)
@pytest.mark.parametrize("loader", LOADERS)
def test_a_file_says_what_to_type(files: dict[str, Path], kind: str, loader: str) -> None:
    with pytest.raises(
        WeightsError, match=rf"is a file; weights are a folder that save_pretrained wrote.*{ADVICE[kind]}"
    ):
        LOADERS[loader](files[kind])


def test_the_advice_for_a_pickle_works(files: dict[str, Path], tmp_path: Path) -> None:
    model = STMGA(TINY)
    model.load_state_dict(torch.load(files["pth"], weights_only=True))
    model.save_pretrained(tmp_path / "folder")
    assert STMGA.from_pretrained(tmp_path / "folder").digest() == build(TINY).digest()


def test_a_file_in_this_folder_hides_no_weight(
    files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "market_cuhk03").write_text("a file called like a tag")
    assert stmga.create_model("stmga_resnet18_c4", weights="market_cuhk03").record is not None
    (tmp_path / "best.pth").write_bytes(files["pth"].read_bytes())
    for load in (lambda: stmga.create_model("best.pth"), lambda: STMGA.from_pretrained("best.pth")):
        with pytest.raises(WeightsError, match=r"best\.pth is a file; .*a pickle"):
            load()


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.float8_e5m2])
def test_files_of_other_types(tmp_path: Path, dtype: torch.dtype) -> None:
    build(TINY).save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in load_file(weights).items()}
    save_file(state, weights, {"format": "pt"})
    record = json.loads(config.read_text())
    record |= {"sha256": hashlib.sha256(weights.read_bytes()).hexdigest(), "file_size": weights.stat().st_size}
    config.write_text(json.dumps(record))
    with pytest.raises(WeightsError, match=f"numbers that parameters are not stored in: .*{dtype}"):
        STMGA.from_pretrained(tmp_path)
