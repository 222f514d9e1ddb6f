"""Exported files: the same embeddings in every runtime, at any b and t; and everything that is refused."""

import errno
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import stmga
from stmga import STMGA, ClipTransform, STMGAConfig, TrackletEmbedder
from stmga.cli.main import main
from stmga.deploy.export import AGREE, SHAPES, export
from stmga.deploy.exported import ExportedModel
from stmga.deploy.onnx_halves import SEAM
from stmga.deploy.runtimes import RUNTIMES
from stmga.tracklets.tracklet import TrackletError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
FRAMES = (50, 24)


def network() -> STMGA:
    torch.manual_seed(0)
    return STMGA(STMGAConfig(backbone="resnet18", stage="c4", size=(64, 32), clip_length=4)).eval()


@pytest.fixture(scope="module")
def model() -> STMGA:
    return network()


@pytest.fixture(scope="module")
def files(model: STMGA, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("exports")
    for name, frames in (("plain.pt2", None), ("plain.onnx", None), ("whole.pt2", FRAMES), ("whole.onnx", FRAMES)):
        done = export(model, folder / name, frames=frames)
        assert set(done.differences) == set(RUNTIMES[Path(name).suffix]), "a runtime is not installed"
        assert max(done.differences.values()) <= AGREE
    return {path.name: path for path in folder.iterdir()}


EVERY = [(name, runtime) for name in ("plain.pt2", "whole.pt2") for runtime in RUNTIMES[".pt2"]] + [
    (name, runtime) for name in ("plain.onnx", "whole.onnx") for runtime in RUNTIMES[".onnx"]
]


@pytest.mark.slow  # three exports to ONNX and as many runtimes
@pytest.mark.parametrize(("name", "runtime"), EVERY)
def test_the_same_embeddings_at_any_shape(files: dict, model: STMGA, name: str, runtime: str) -> None:
    exported = ExportedModel(files[name], runtime=runtime)
    h, w = exported.frames or model.config.size
    transform = ClipTransform.from_config(model.config)
    assert (exported.digest(), exported.config, exported.dim) == (model.digest(), model.config, model.dim)
    for b, t in [*SHAPES, (1, 7), (5, 1)]:
        frames = torch.randint(256, (b, t, 3, h, w), dtype=torch.uint8)
        with torch.inference_mode():
            wanted = model(transform(frames))
            feature = model.neck(model.encode(transform(frames)))
        clips = frames if exported.frames else transform(frames)
        assert torch.allclose(exported(clips), wanted, atol=1e-4, rtol=0)
        assert torch.allclose(exported.encode(clips), feature, atol=1e-3, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain.pt2", "whole.pt2", "plain.onnx", "whole.onnx"])
def test_the_embedder_runs_them_like_the_network(files: dict, model: STMGA, name: str) -> None:
    """Long tracklets too, whose vector is a mean over clips before the norm."""
    draw = np.random.default_rng(0)
    tracklets = {str(n): draw.integers(0, 256, (n, *FRAMES, 3), dtype=np.uint8) for n in (1, 4, 11)}
    wanted = TrackletEmbedder(model)(tracklets)
    found = TrackletEmbedder(ExportedModel(files[name]))(tracklets)
    assert found.digest == wanted.digest and found.ids == wanted.ids
    assert torch.allclose(found.vectors, wanted.vectors, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="as it was written"):
        TrackletEmbedder(ExportedModel(files[name]), precision="bf16")


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES[".onnx"])
@pytest.mark.parametrize("name", ["plain.onnx", "whole.onnx"])
def test_each_frame_is_computed_once_by_the_first_half(files: dict, model: STMGA, name: str, runtime: str) -> None:
    exported, seen = ExportedModel(files[name], runtime=runtime), []
    first = exported._halves.frames
    exported._halves = exported._halves._replace(frames=lambda x: (seen.append(len(x)), first(x))[1])
    draw = np.random.default_rng(0)
    tracklets = {str(n): draw.integers(0, 256, (n, *FRAMES, 3), dtype=np.uint8) for n in (1, 2, 9)}
    found = TrackletEmbedder(exported, batch_size=2)(tracklets).vectors
    assert seen == [3, 8, 1]
    assert torch.allclose(found, TrackletEmbedder(model)(tracklets).vectors, atol=1e-4, rtol=0)
    frames = exported.transform([torch.zeros(3, *FRAMES, dtype=torch.uint8)] * 2)
    assert first(frames).shape == (2, model.config.n_parts, model.dim)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", RUNTIMES[".onnx"])
def test_a_file_without_a_seam_runs_whole(files: dict, model: STMGA, tmp_path: Path, runtime: str) -> None:
    """As an older version wrote it, or as a tool left it that renames tensors."""
    onnx = pytest.importorskip("onnx")
    graph = onnx.load(files["plain.onnx"])
    for node in graph.graph.node:
        for names in (node.input, node.output):
            names[:] = ["other" if name == SEAM else name for name in names]
    onnx.save(graph, tmp_path / "older.onnx")
    exported = ExportedModel(tmp_path / "older.onnx", runtime=runtime)
    frames = torch.rand(2, 3, 64, 32)
    assert exported.encode_frames(frames) is frames
    draw = np.random.default_rng(0)
    tracklets = {str(n): draw.integers(0, 256, (n, *FRAMES, 3), dtype=np.uint8) for n in (1, 9)}
    found = TrackletEmbedder(exported)(tracklets).vectors
    assert torch.allclose(found, TrackletEmbedder(model)(tracklets).vectors, atol=1e-4, rtol=0)


def test_a_program_that_is_trusted_runs_whole(model: STMGA, tmp_path: Path) -> None:
    export(model, tmp_path / "a.pt2")
    frames = torch.rand(2, 3, 64, 32)
    program, network = (ExportedModel(tmp_path / "a.pt2", trust=trust) for trust in (True, False))
    assert program.encode_frames(frames) is frames
    assert network.encode_frames(frames).shape == (2, 7, model.dim)
    for exported in (program, network):
        features = exported.encode_frames(frames)[[0, 1, 0, 1]][None]
        torch.testing.assert_close(
            exported.encode_clips(features), network.encode(frames[[0, 1, 0, 1]][None]), atol=1e-4, rtol=1e-4
        )
    with pytest.raises(ValueError, match=r"takes float32 frames \(n, 3, 64, 32\), got float32 \(2, 3, 8, 8\)"):
        network.encode_frames(torch.rand(2, 3, 8, 8))


@pytest.mark.slow
def test_frames_of_another_size_are_refused(files: dict, model: STMGA) -> None:
    exported = ExportedModel(files["whole.onnx"])
    with pytest.raises(ValueError, match=r"takes uint8 clips \(b, t, 3, 50, 24\), got uint8 \(1, 1, 3, 64, 32\)"):
        exported(torch.zeros(1, 1, 3, 64, 32, dtype=torch.uint8))
    with pytest.raises(ValueError, match="got float32"):
        exported(torch.zeros(1, 1, 3, *FRAMES))
    with pytest.raises(TrackletError, match=r"\(64, 32\).*takes uint8 of \(50, 24\)"):
        TrackletEmbedder(exported)({"a": np.zeros((2, 64, 32, 3), np.uint8)})
    with pytest.raises(ValueError, match="takes float32"):
        ExportedModel(files["plain.pt2"])(torch.zeros(1, 1, 3, 32, 64))


@pytest.mark.slow
def test_a_file_knows_its_weights(tmp_path: Path) -> None:
    network().save_pretrained(tmp_path / "mine")
    model = STMGA.from_pretrained(tmp_path / "mine")
    export(model, tmp_path / "mine.pt2")
    record = ExportedModel(tmp_path / "mine.pt2").record
    assert record is not None and record.sha256 == json.loads((tmp_path / "mine/config.json").read_text())["sha256"]
    with pytest.raises(ValueError, match="runs in torch, not in 'openvino'"):
        ExportedModel(tmp_path / "mine.pt2", runtime="openvino")
    with pytest.raises(ValueError, match="providers are of onnxruntime"):
        ExportedModel(tmp_path / "mine.pt2", providers=["CUDAExecutionProvider"])


def test_what_is_no_exported_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no exported file"):
        ExportedModel(tmp_path / "none.onnx")
    for name in ("a.onnx", "a.pt2"):
        (tmp_path / name).write_bytes(b"\x08\x07 not this" * 50)
        with pytest.raises(ValueError, match="damaged or foreign"):
            ExportedModel(tmp_path / name)
    (tmp_path / "a.bin").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"ends in \.pt2 or \.onnx"):
        ExportedModel(tmp_path / "a.bin")
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.ones(1, 2),))
    torch.export.save(program, tmp_path / "foreign.pt2")
    with pytest.raises(ValueError, match="does not say what it is"):
        ExportedModel(tmp_path / "foreign.pt2")


def test_what_cannot_be_exported(model: STMGA, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"training mode.*model\.eval"):
        export(network().train(), tmp_path / "a.pt2")
    with pytest.raises(ValueError, match="opset 7 is not known here; expected 18 to"):
        export(model, tmp_path / "a.onnx", opset=7)
    with pytest.raises(ValueError, match="opset 18 is of ONNX"):
        export(model, tmp_path / "a.pt2", opset=18)
    with pytest.raises(ValueError, match=r"ends in \.pt2 or \.onnx"):
        export(model, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="height, width"):
        export(model, tmp_path / "a.pt2", frames=(0, 5))
    with pytest.raises(FileNotFoundError, match="create it first"):
        export(model, tmp_path / "no" / "a.pt2")
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room(model: STMGA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.pt2").write_bytes(b"older")

    def full(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    with pytest.raises(OSError, match=r"No space left on device; the file was not written.*"):
        export(model, tmp_path / "a.pt2")
    assert [p.name for p in tmp_path.iterdir()] == ["a.pt2"] and (tmp_path / "a.pt2").read_bytes() == b"older"


def test_an_export_that_differs_is_not_kept(model: STMGA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ExportedModel, "__call__", lambda self, clips: torch.ones(len(clips), self.dim))
    with pytest.raises(RuntimeError, match=r"was not written: in torch its embeddings differ by"):
        export(model, tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    network().save_pretrained("mine")
    assert main(["export", "--model", "mine", "-o", "mine.pt2", "--frames", "40", "20"]) == 0
    printed = capsys.readouterr().out
    assert all(text in printed for text in ("takes     clips (b, t, 3, 40, 20), uint8", "torch", "wrote     mine.pt2"))
    from PIL import Image

    for person in ("ann", "ben"):
        (tmp_path / "crops" / person).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (20, 40), (40 * i, 90, 30)).save(tmp_path / "crops" / person / f"{i}.png")
    assert main(["embed", "crops", "--model", "mine.pt2", "-o", "a.safetensors", "-q"]) == 0
    assert main(["embed", "crops", "--model", "mine", "-o", "b.safetensors", "-q"]) == 0
    a, b = stmga.Embeddings.load("a.safetensors"), stmga.Embeddings.load("b.safetensors")
    assert a.digest == b.digest and torch.allclose(a.vectors, b.vectors, atol=1e-4)
    assert main(["export", "--model", "mine", "-o", "mine.onnx", "--opset", "3"]) == 1
    assert "opset 3 is not known" in capsys.readouterr().err
