"""`stmga eval` with several networks and data sets: one table, its file, its picture, and what is refused."""

import json
import re
import xml.etree.ElementTree as ET

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from stmga import STMGA, Embeddings, TrackletEmbedder
from stmga.data import load_benchmark
from stmga.data.walkers.generate import write_benchmark
from stmga.embedding import FrameEncoder
from stmga.embedding.cost import cost_of
from stmga.metrics import evaluate
from tests.support.cli import TINY
from tests.support.onnx_files import write_image_net


@pytest.fixture(scope="module", name="place")
def place_fixture(tmp_path_factory):
    """Two benchmarks of walkers, two saved networks, and an ONNX file of images."""
    folder = tmp_path_factory.mktemp("table")
    for seed, name in enumerate(("one", "two")):
        write_benchmark(folder / name, 0, 4, cameras=2, tracklets=1, frames=2, size=(64, 32), seed=seed)
        (folder / name / "protocol.json").unlink()  # each has the name of its folder
    for seed in (1, 2):
        torch.manual_seed(seed)
        STMGA(TINY).save_pretrained(folder / f"net{seed}")
    write_image_net(folder / "other.onnx", (1, 3, 32, 16))
    return folder


def sets(place, *names):
    return [word for name in names for word in ("--data", place / name / "manifest.jsonl")]


def test_each_row_is_what_the_network_gives_alone(place, run, tmp_path):
    out, names = tmp_path / "t.json", [str(place / n) for n in ("net1", "net2")] + [str(place / "other.onnx")]
    code, text, err = run(
        "eval", *sets(place, "one", "two"), *(w for n in names for w in ("--model", n)), "-q", "-o", out,
        "--picture", tmp_path / "t.png",
    )  # fmt: skip
    assert code == 0, err
    table = json.loads(out.read_text())
    assert [(row["network"], row["data"]) for row in table["rows"]] == [(n, d) for n in names for d in ("one", "two")]
    lines = {line.split()[0]: line.split()[1:] for line in text.splitlines() if line.startswith(str(place))}
    for i, name in enumerate(names):
        for k, data in enumerate(("one", "two")):
            assert run("eval", *sets(place, data), "--model", name, "-q", "-o", tmp_path / "r.json")[0] == 0
            alone, row = json.loads((tmp_path / "r.json").read_text()), table["rows"][2 * i + k]
            assert {key: row[key] for key in alone} == alone
            assert lines[name][2 * k : 2 * k + 2] == [f"{alone['mAP']:.2%}", f"{alone['rank-1']:.2%}"]
    own, foreign = cost_of(STMGA(TINY)), cost_of(FrameEncoder(place / "other.onnx"))
    for row, cost in zip(table["rows"], [own] * 4 + [foreign] * 2, strict=True):
        assert (row["parameters"], row["gmac"], row["mb"]) == (cost.parameters, cost.gmac, cost.mb)
        assert 0 < row["quartiles"][0] <= row["clips_per_s"] <= row["quartiles"][1]
    assert re.search(r"medians, in turns; batches of 32 frames, fp32, on cpu of .*, 1 threads, torch", text)
    assert table["measured"]["batch"] == "32 frames"
    with Image.open(tmp_path / "t.png") as picture:
        assert picture.size == (2 * 2 * 560, 2 * 400)


def test_no_speed_and_a_picture_as_svg(place, run, tmp_path):
    code, text, err = run(
        "eval", *sets(place, "one"), "--model", place / "net1", "-q", "--no-speed", "--picture", tmp_path / "t.svg"
    )
    assert code == 0, err
    assert "clips/s" not in text and "protocol  one: " in text
    page = ET.parse(tmp_path / "t.svg").getroot()
    texts = [node.text for node in page if node.tag.endswith("text")]
    assert "mAP, %" in texts and "GMAC of 8 frames" in texts and sum("net1" in text for text in texts) == 1
    assert sum(node.tag.endswith("circle") for node in page) == 1


def test_torchvision_by_name_cut_where_its_weights_end(place, run, fails, tmp_path):
    torch.manual_seed(5)
    whole = torchvision.models.resnet18(weights=None).eval()
    cut = {
        k: v.contiguous() for k, v in whole.state_dict().items() if k.split(".")[0] not in ("layer3", "layer4", "fc")
    }
    save_file(cut, tmp_path / "cut.safetensors")
    command = ["eval", *sets(place, "one"), "-q", "--size", 64, 32, "--backbone-weights", tmp_path / "cut.safetensors"]
    code, text, err = run(*command, "--model", "torchvision:resnet18:layer2", "-o", tmp_path / "r.json")
    assert code == 0, err
    assert "weights   torchvision:resnet18:layer2, cut.safetensors" in text
    trunk = torch.nn.Sequential(*list(whole.children())[:6])
    from stmga.data import load_benchmark
    from stmga.metrics import evaluate_networks

    wanted = evaluate_networks(
        {"trunk": FrameEncoder(trunk, size=(64, 32))}, [load_benchmark(place / "one/manifest.jsonl")], speed=False
    )
    assert json.loads((tmp_path / "r.json").read_text())["mAP"] == wanted.rows[0].evaluation.mAP
    assert "end the network where the file ends, such as torchvision:resnet18:layer3" in fails(
        *command, "--model", "torchvision:resnet18"
    )
    assert "resnet18 has no node 'layer9'; did you mean" in fails(*command, "--model", "torchvision:resnet18:layer9")
    assert "no network 'resnet19' for classification; did you mean 'resnet18'" in fails(
        *command, "--model", "torchvision:resnet19"
    )


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("--data one one", "two data sets are called one/manifest.jsonl; rename one"),
        ("--data one --model net1 net1", "a network is named twice"),
        (
            "--data none",
            "walkers medium seed 0 has no test: 0 queries, 0 gallery tracklets; give its",
        ),
        ("--data one --model net1 net2 --size 64 32", "no network of --model takes --size: net1, net2"),
        ("--data one --model net1 --mean 0 0 0", "no network of --model takes --mean: net1"),
        ("--data one --model net1 net2 --backbone-weights x", "no network of --model takes --backbone-weights"),
        ("--data one --model net1 --backbone-weights x", "net1 has weights already"),
        ("--data one --model other.onnx --size 8 8", "takes images of 32 x 16 (height x width), got --size (8, 8)"),
        ("--data one --model torchvision:resnet18", "takes frames of many sizes; say which, such as --size 256 128"),
        ("--data one --model last.onnx", "channels last: expected (n, 3, h, w), got 'images': float (n, 32, 16, 3)"),
        ("--data one --picture t.pdf", "the picture can be written as .png or .svg, got 't.pdf'"),
        ("--data one two --title x", "--title names one data set, and there are 2"),
        ("one", "one is a data set, not a file of embeddings; give it as --data one"),
        ("one.safetensors --data one", "one.safetensors are embeddings and --data one/manifest.jsonl is a data set"),
        ("x.safetensors --model net1", "--model is for a network on a data set"),
        ("", "there is nothing to score: name a data set as --data SET"),
    ],
)
def test_what_cannot_be_a_table_is_refused(place, fails, monkeypatch, typed, message):
    monkeypatch.chdir(place)
    if "none" in typed:
        write_benchmark(place / "none", 2, 0, cameras=2, tracklets=1, frames=1, size=(64, 32))
    write_image_net(place / "last.onnx", ("n", 32, 16, 3))
    words, option = [], ""
    for word in typed.split():
        option = word if word.startswith("--") else option
        again = option in ("--data", "--model") and words and words[-1] != option and word != option
        word = f"{word}/manifest.jsonl" if option == "--data" and word in ("one", "two", "none") else word
        words += [option, word] if again else [word]
    assert message in fails("eval", *words)


def test_embed_takes_a_network_of_images_too(place, run, tmp_path):
    out = tmp_path / "all.safetensors"
    code, _, err = run("embed", place / "one/manifest.jsonl", "--model", place / "other.onnx", "-q", "-o", out)
    assert code == 0, err
    found = Embeddings.load(out)
    assert (found.dim, found.digest) == (5, FrameEncoder(place / "other.onnx").digest())


def test_views_are_in_the_protocol_and_costs_are_of_one(place, run, tmp_path):
    out = tmp_path / "t.json"
    code, text, err = run(
        "eval", *sets(place, "one"), "--model", place / "net1", "--model", place / "net2", "-q", "--no-speed",
        "--flip", "--two-sizes", "-o", out,
    )  # fmt: skip
    assert code == 0, err
    assert "all frames; mirror images averaged in; two sizes averaged; no re-ranking" in text
    assert "The scores average views (flip, two_sizes); GMAC are of one view." in text
    model = STMGA.from_pretrained(place / "net1")
    data = load_benchmark(place / "one" / "manifest.jsonl")
    embedder = TrackletEmbedder(model, flip=True, two_sizes=True)
    wanted = evaluate(*map(embedder.embed, (data.query, data.gallery)), data.protocol)
    (row, _) = json.loads(out.read_text())["rows"]
    assert (row["mAP"], row["gmac"]) == (pytest.approx(wanted.mAP), cost_of(model).gmac)
    for option in ("--flip", "--two-sizes"):
        source, out = place / "one" / "manifest.jsonl", tmp_path / "v.safetensors"
        code, text, _ = run("embed", source, "--model", place / "net1", "-o", out, option)
        assert code == 0
        assert f"fp32, {option[2:].replace('-', ' ')}\n" in text
        found = Embeddings.load(out)
        assert (found.flip, found.two_sizes) == (option == "--flip", option == "--two-sizes")
