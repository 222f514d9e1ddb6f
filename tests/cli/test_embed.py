"""`stmga embed`: what it prints, writes and refuses."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from stmga import STMGA, Embeddings
from stmga.data.walkers.render import write_walkers


def test_embed_writes_what_it_says(place, run, tmp_path):
    out = tmp_path / "out.safetensors"
    code, text, err = run("embed", place / "crops/manifest.jsonl", "-o", out, "--model", place / "tiny")
    assert code == 0
    assert "read      10 tracklets, 40 frames, 5 persons, 2 cameras from " in text
    assert "frames/s" in text
    assert "peak memory" in text
    assert "10 256-dimensional vectors" in text
    assert "embed: 100%" in err  # the progress bar
    saved, before = Embeddings.load(out), Embeddings.load(place / "all.safetensors")
    assert saved.digest == STMGA.from_pretrained(place / "tiny").digest()
    assert saved.ids == before.ids
    assert torch.equal(saved.vectors, before.vectors)
    assert {item["role"] for item in saved.items} == {"query", "gallery"}


def test_embed_untrained_says_so_and_is_the_same_each_time(place, run, tmp_path):
    crops = tmp_path / "crops"
    write_walkers(crops, 1, cameras=1, frames=2)
    found = []
    for name in ("a", "b"):
        code, text, _ = run(
            "embed", crops / "manifest.jsonl", "-o", tmp_path / name, "-q", "--model", "stmga_resnet18_c4"
        )
        assert code == 0
        found.append(Embeddings.load(tmp_path / name))
    if "NOT TRAINED" in text:  # no weights in the package yet
        assert "NOT TRAINED (random, seed 0)" in found[0].model
    assert found[0].digest == found[1].digest


def test_embed_a_trunk_from_a_file(place, run, fails, tmp_path):
    from safetensors.torch import save_file
    from torchvision.models import resnet18

    file = tmp_path / "trunk.safetensors"
    save_file({k: v for k, v in resnet18().state_dict().items() if not k.startswith(("layer4", "fc"))}, file)
    source = place / "crops/manifest.jsonl"
    trunk = ("-q", "--backbone-weights", file)
    code, text, _ = run("embed", source, "-o", tmp_path / "x.safetensors", *trunk)
    assert code == 0
    assert "stmga_resnet18_c4, NOT TRAINED (trunk from trunk.safetensors, the rest random, seed 0)" in text
    err = fails("embed", source, "-o", tmp_path / "y", "--model", place / "tiny", *trunk)
    assert "has weights already" in err
    err = fails("embed", source, "-o", tmp_path / "y", "--backbone-weights", tmp_path / "none.safetensors")
    assert "none.safetensors" in err


def test_embed_folders(place, run, tmp_path):
    for i in range(2):
        folder = tmp_path / "people" / "ann" / f"cam{i}"
        folder.mkdir(parents=True)
        Image.new("RGB", (32, 64), (200, 40 * i, 0)).save(folder / "1.png")
    out = tmp_path / "o.safetensors"
    layout = ("--layout", "{person}/cam{camera}")
    assert run("embed", tmp_path / "people", "-o", out, "--model", place / "tiny", "-q", *layout)[0] == 0
    saved = Embeddings.load(out)
    assert (saved.persons, saved.cameras) == (["ann", "ann"], ["0", "1"])


def test_embed_mot_tracks(place, run, fails, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in (1, 2):
        Image.new("RGB", (80, 80), (20 * i, 90, 0)).save(frames / f"{i:06d}.png")
    tracks = tmp_path / "cam3.txt"
    tracks.write_text("1,7,10,5,20,40,1\n2,7,12,5,20,40,1\n1,8,50,5,20,40,1\n")
    out = tmp_path / "o.safetensors"
    asked = ("embed", tracks, "-o", out, "--model", place / "tiny", "-q")
    code, text, _ = run(*asked, "--mot-frames", frames, "--camera", "3")
    assert code == 0
    assert "2 tracklets, 3 frames" in text
    assert (Embeddings.load(out).ids, Embeddings.load(out).cameras) == (["3-7", "3-8"], ["3", "3"])
    assert "--camera belongs to --mot-frames" in fails(*asked, "--camera", "3")


def test_embed_names_the_broken_image_and_can_go_on(place, run, fails, tmp_path):
    write_walkers(tmp_path / "crops", 2, cameras=1, frames=2, size=(64, 32))
    broken = tmp_path / "crops/p0001_c0_t0/0001.jpg"
    broken.write_bytes(broken.read_bytes()[:-200])
    out = tmp_path / "o.safetensors"
    asked = ("embed", tmp_path / "crops/manifest.jsonl", "-o", out, "--model", place / "tiny", "-q")
    assert str(broken) in fails(*asked)
    assert not out.exists()
    code, text, _ = run(*asked, "--on-error", "skip")
    assert code == 0
    assert str(broken) in text
    assert "1 256-dimensional vectors, 1 skipped" in text
    assert Embeddings.load(out).ids == ["p0000_c0_t0"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"source": "nowhere"}, "does not exist"),
        ({"-o": "no/such/folder/x.safetensors"}, "create it first"),
        ({"-o": "."}, "is a folder"),
        ({"--model": "stmga_resnet19_c4"}, "stmga_resnet18_c4"),
        ({"--model": "stmga_resnet18_c4.never"}, "stmga_resnet18_c4.never"),
        ({"--model": "./no/folder"}, "no/folder"),
        ({"--model": "stmga_resnet18_c4", "--revision": "main"}, "--revision is for a Hub id"),
        ({"--workers": "-1"}, "workers"),
    ],
)
def test_embed_refuses(change, message, place, fails, tmp_path):
    asked = {"source": place / "crops/manifest.jsonl", "-o": tmp_path / "x", "--model": place / "tiny"} | change
    flags = [part for key, value in asked.items() if key != "source" for part in (key, value)]
    assert message in fails("embed", asked["source"], *flags, "-q")
    assert not (tmp_path / "x").exists()


def test_embed_mot_tracks_that_begin_at_zero_and_are_long_enough(place, run, fails, tmp_path):
    frames = tmp_path / "frames"
    frames.mkdir()
    for i in range(2):
        Image.new("RGB", (80, 80), (20 * i, 90, 0)).save(frames / f"{i:06d}.png")
    tracks = tmp_path / "t.txt"
    tracks.write_text("0,7,10,5,20,40,1\n1,7,12,5,20,40,1\n0,8,50,5,20,40,1\n")
    asked = ("embed", tracks, "-o", tmp_path / "o.safetensors", "--model", place / "tiny", "-q")
    assert "--first-index 0" in fails(*asked, "--mot-frames", frames)
    code, text, _ = run(*asked, "--mot-frames", frames, "--first-index", "0", "--min-frames", "2")
    assert code == 0
    assert "1 tracklets, 2 frames" in text
    assert Embeddings.load(tmp_path / "o.safetensors").ids == ["t-7"]
    assert "--first-index belongs to --mot-frames" in fails(*asked, "--first-index", "0")
    assert "--min-frames belongs to --mot-frames" in fails(*asked, "--min-frames", "2")
    assert "--classes belongs to --mot-frames" in fails(*asked, "--classes", "1")


def test_embed_chooses_classes_columns_and_a_stride(place, run, fails, tmp_path):
    (tmp_path / "frames").mkdir()
    for i in range(1, 4):
        Image.new("RGB", (80, 80), (20 * i, 90, 0)).save(tmp_path / f"frames/{i:06d}.png")
    tracks = tmp_path / "t.txt"
    tracks.write_text("1,7,10,5,20,40,1,1,1\n2,7,12,5,20,40,1,1,1\n1,8,50,5,20,40,1,3,1\n1,9,50,5,20,40,1,7,1\n")
    asked = ("embed", tracks, "-o", tmp_path / "o.safetensors", "--model", place / "tiny", "-q")
    asked += ("--mot-frames", tmp_path / "frames", "--stride", "2")
    code, text, err = run(*asked, "--classes", "1, 7")
    assert code == 0, err
    assert "2 tracklets, 3 frames" in text
    assert Embeddings.load(tmp_path / "o.safetensors").ids == ["t-7", "t-9"]
    assert "no line has class 5; it has 1, 3, 7" in fails(*asked, "--classes", "5")
    assert "no column for the frame" in fails(*asked, "--columns", "id,x,y,w,h")


def test_embed_a_name_is_no_folder(place, run, tmp_path, monkeypatch):
    monkeypatch.setattr("stmga.hub.records.BUNDLED", tmp_path / "none")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stmga_resnet18_c4").mkdir()
    write_walkers(tmp_path / "crops", 1, cameras=1, frames=2)
    code, text, err = run("embed", tmp_path / "crops/manifest.jsonl", "-o", "x", "-q")
    assert code == 0, err
    assert "stmga_resnet18_c4, NOT TRAINED" in text


def test_embed_speed_counts_the_frames_behind_the_vectors(place, run, tmp_path):
    write_walkers(tmp_path / "crops", 2, cameras=1, frames=6, size=(64, 32))
    asked = ("embed", tmp_path / "crops/manifest.jsonl", "-o", tmp_path / "o", "--model", place / "tiny", "-q")
    assert "(12 frames in " in run(*asked)[1]
    assert "(8 frames in " in run(*asked, "--sampling", "evenly")[1]  # 2 clips of 4
    (tmp_path / "crops/p0001_c0_t0/0001.jpg").write_bytes(b"no picture")
    text = run(*asked, "--on-error", "skip")[1]
    assert "(6 frames in " in text
    assert "GB in this process" in text


def test_embed_any_file_name(place, run, tmp_path):
    folder, out = tmp_path / "people" / "caf\udce9", tmp_path / "o.safetensors"  # the byte e9, no UTF-8
    try:
        folder.mkdir(parents=True)
    except (OSError, UnicodeError) as error:
        pytest.skip(f"this file system takes no such name: {error}")
    Image.new("RGB", (32, 64)).save(folder / "1.png")
    assert run("embed", tmp_path / "people", "-o", out, "--model", place / "tiny", "-q")[0] == 0
    saved = Embeddings.load(out)
    assert saved.ids == ["caf\udce9"]
    assert saved.items[0]["cover"]["file"] == str(folder / "1.png")


def test_flip_is_an_option_of_embed_and_eval(place, run, fails, tmp_path: Path) -> None:
    crops, out = place / "crops/manifest.jsonl", tmp_path / "flip.safetensors"
    code, text, err = run("embed", crops, "-o", out, "--model", place / "tiny", "-q", "--flip")
    assert code == 0, err
    assert "fp32, flip" in text
    saved, plain = Embeddings.load(out), Embeddings.load(place / "all.safetensors")
    assert (saved.flip, plain.flip, saved.digest) == (True, False, plain.digest)
    assert not torch.equal(saved.vectors, plain.vectors)
    code, text, _ = run("eval", out)
    assert code == 0
    line = "all frames; mirror images averaged in; no re-ranking"
    assert line in text
    code, again, _ = run("eval", "--data", crops, "--model", place / "tiny", "-q", "--flip")
    assert code == 0
    assert line in again
    assert text.splitlines()[0] in again  # the same scores
    assert "--flip is for a network on a data set" in fails("eval", out, "--flip")


def test_a_wrong_source_is_named_before_the_weights_are_loaded(fails, tmp_path, monkeypatch):
    monkeypatch.setattr("stmga.cli.embed.computing_model_of", lambda args: pytest.fail("the weights were loaded"))
    assert "nowhere does not exist" in fails("embed", tmp_path / "nowhere", "-o", tmp_path / "x.safetensors")
    (tmp_path / "t.txt").write_text("1,1,0,0,9,9,1\n")
    missing = "--mot-frames", tmp_path / "gone.mp4"
    assert "gone.mp4 does not exist" in fails("embed", tmp_path / "t.txt", "-o", tmp_path / "x.safetensors", *missing)


@pytest.mark.parametrize(
    ("source", "flags", "message"),
    [
        ("crops/manifest.jsonl", ("--camera", "3"), "--camera belongs to --mot-frames"),
        ("crops/manifest.jsonl", ("--max-pixels", "100"), "--max-pixels 2048"),
        ("crops", ("--layout", "{pid}/{tracklet}"), "{person}"),
        ("tracks.txt", ("--mot-frames", "crops/p0000_c0_t0"), "tracks.txt"),
    ],
)
def test_faults_of_the_input_come_before_the_weights_are_loaded(source, flags, message, place, fails, tmp_path):
    (place / "tracks.txt").write_text("one line that is no track\n")
    flags = [place / flag if flag.startswith("crops") else flag for flag in flags]
    err = fails("embed", place / source, "-o", tmp_path / "x", "--model", tmp_path / "no-weights-here", *flags)
    assert message in err
    assert "no-weights-here" not in err


def test_a_device_that_is_none_is_refused_at_once(capsys):
    from stmga.cli.main import main

    with pytest.raises(SystemExit) as ended:
        main(["embed", "crops", "-o", "a.safetensors", "--device", "banana"])
    assert ended.value.code == 2
    assert "expected cpu, cuda, cuda:N, mps or xpu, got 'banana'" in capsys.readouterr().err
