"""Packs: the same pixels, labels and protocol come back; foreign folders are refused."""

from __future__ import annotations

import json
import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch

from stmga.cli.main import main
from stmga.data import Benchmark, load_benchmark, pack
from stmga.metrics.protocol import Protocol
from stmga.tracklets.images import OPEN_SHARDS, read_span
from stmga.tracklets.manifest import read_manifest, write_manifest
from stmga.tracklets.tracklet import Frame, Tracklet, TrackletError, load_cover
from tests.support.packs import RULES, all_of, benchmark, content
from tests.support.tracklets import faults_of

OTHERS = [".inputs.jsonl", "manifest.jsonl", "pack.json", "protocol.json"]


def test_round_trip(crops, tmp_path):
    source = benchmark(crops)
    path = pack(source, tmp_path / "pack", shard_bytes=20_000)
    names = sorted(content(tmp_path / "pack"))
    shards = [name for name in names if name.startswith("shard-")]
    assert len(shards) > 2 and sorted({*names} - {*shards}) == OTHERS
    back = load_benchmark(tmp_path / "pack")
    assert (back.name, back.terms, back.protocol) == ("walk", "rendered", RULES)
    assert [len(back.train), len(back.query), len(back.gallery)] == [6, 3, 4]
    for role in ("train", "query", "gallery"):
        for old, new in zip(getattr(source, role), getattr(back, role), strict=True):
            assert new.row() | {"cover": 0} == old.row() | {"role": role, "cover": 0}
            assert [frame.box for frame in new.frames] == [frame.box for frame in old.frames]
            for frame, packed in zip(old.frames, new.frames, strict=True):
                assert read_span(packed.file, packed.span) == frame.file.read_bytes()
            for a, b in zip(old.load(), new.load(), strict=True):
                assert torch.equal(a, b)
    assert all_of(load_benchmark(path))[3].frames == all_of(back)[3].frames


def test_shards_hold_each_image_once_and_whole_tracklets(crops, tmp_path):
    pack(benchmark(crops), tmp_path / "pack", shard_bytes=10**9)
    [shard] = (tmp_path / "pack").glob("shard-*")
    assert shard.stat().st_size == sum(file.stat().st_size for file in crops.rglob("*.*"))
    rows = [json.loads(line) for line in (tmp_path / "pack/manifest.jsonl").read_text().splitlines()]
    assert rows[5]["frames"]["spans"] == [rows[0]["frames"]["spans"][0]] * 2
    assert rows[5]["frames"]["boxes"] == [[1, 2, 8, 16], None]
    assert {row["frames"]["file"] for row in rows} == {"shard-00000.bin"}
    assert "boxes" not in rows[0]["frames"]


def test_a_pack_moves_and_its_covers_open(crops, tmp_path):
    pack(benchmark(crops), tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    tracklet = load_benchmark(tmp_path / "b").query[0]
    row = json.loads(json.dumps(tracklet.row()))
    np.testing.assert_array_equal(np.asarray(load_cover(row)), tracklet.load([2])[0].permute(1, 2, 0).numpy())
    assert pickle.loads(pickle.dumps(tracklet)).frames == tracklet.frames


def test_manifests_of_packed_frames_are_written_and_read_again(crops, tmp_path):
    pack(benchmark(crops), tmp_path / "pack", shard_bytes=20_000)
    tracklets = read_manifest(tmp_path / "pack/manifest.jsonl")
    mixed = Tracklet("mixed", (*tracklets[0].frames[:2], tracklets[-1].frames[0], Frame(crops / "01/0.jpg")))
    write_manifest([*tracklets, mixed], tmp_path / "index.jsonl")
    back = read_manifest(tmp_path / "index.jsonl")
    assert [t.frames for t in back] == [t.frames for t in [*tracklets, mixed]]
    assert back[-1].load()[2].shape == (3, 32, 16)
    again = pack(tracklets, tmp_path / "again", shard_bytes=10**9)  # a pack made from a pack
    for old, new in zip(tracklets, read_manifest(again), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(old.load(), new.load(), strict=True))


def test_plain_tracklets_and_persons_held_out_of_a_pack(crops, tmp_path):
    tracklets = [Tracklet(f"{p}-{c}", sorted((crops / p).iterdir()), p, c) for p in ("00", "01", "02") for c in "ab"]
    pack(tracklets, tmp_path / "pack")
    made = load_benchmark(tmp_path / "pack", holdout=0.3)
    assert [len(made.train), len(made.query)] == [4, 2]
    assert made.protocol == Protocol(data="tracklets, 30 % of its persons held out with seed 0")


def test_sources_that_cannot_be_packed(crops, tmp_path):
    video = Tracklet("v", [Frame(tmp_path / "walk.mp4", None, 3)])
    memory = Tracklet("m", np.zeros((1, 4, 4, 3), np.uint8))
    twice = [Tracklet("t", [crops / "00/0.jpg"])] * 2
    one, two, three = faults_of(pack, [video, memory, *twice], tmp_path / "pack")
    assert "walk.mp4): cut its crops to image files first" in one and '"m" is in memory' in two
    assert 'duplicate id "t"' in three
    with pytest.raises(TrackletError, match="no tracklets"):
        pack([], tmp_path / "pack")
    with pytest.raises(ValueError, match="must be at least 1, got 0 and 8"):
        pack(twice[:1], tmp_path / "pack", shard_bytes=0)
    assert not (tmp_path / "pack").exists()
    (tmp_path / "zero.jpg").write_bytes(b"")
    for name, words in (("gone.jpg", "cannot be read: No such file"), ("zero.jpg", "is empty")):
        with pytest.raises(TrackletError, match=f'tracklet "t": .*{name} {words}'):
            pack([Tracklet("t", [tmp_path / name])], tmp_path / name[:4])
        assert sorted(file.name for file in (tmp_path / name[:4]).iterdir()) == [".inputs.jsonl", "pack.json"]


def test_foreign_folders_are_refused(crops, tmp_path):
    source = benchmark(crops)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.tex").write_text("years of work")
    with pytest.raises(ValueError, match=r"is not a pack and not empty \(thesis\.tex\)"):
        pack(source, tmp_path / "full")
    pack(source, tmp_path / "pack")
    before = content(tmp_path / "pack")
    other = Benchmark(name="walk", train=source.train, query=[], gallery=[], protocol=RULES, terms="rendered")
    for wrong, size, words in (
        (source, 999, "shard_bytes was 268435456, now 999"),
        (other, 2**28, "tracklets was 13, now 6; frames was 50, now 22"),
        (Benchmark(name="walk", train=source.train, query=source.query, gallery=source.gallery, protocol=Protocol()),
         2**28, "labels, order or protocol differ"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="is a pack of other data or other settings") as caught:
            pack(wrong, tmp_path / "pack", shard_bytes=size)
        assert words in str(caught.value)
    pack(source, tmp_path / "pack")  # whole already
    assert content(tmp_path / "pack") == before
    (tmp_path / "pack/pack.json").write_text("{")
    with pytest.raises(ValueError, match=r"pack\.json is damaged"):
        pack(source, tmp_path / "pack")


def _sums(tracklets):
    return [int(sum(frame.sum() for frame in tracklet.load())) for tracklet in tracklets]


def test_reading_from_threads_and_forked_processes_with_few_open_files(crops, tmp_path):
    tracklets = [Tracklet(f"{i}", sorted((crops / f"{i % 12:02d}").iterdir())) for i in range(2 * OPEN_SHARDS)]
    pack(tracklets, tmp_path / "pack", shard_bytes=1)  # a shard for each
    packed = load_benchmark(tmp_path / "pack").train
    assert len({t.frames[0].file for t in packed}) == 2 * OPEN_SHARDS
    expected = _sums(tracklets)
    assert _sums(packed) == expected
    with ThreadPoolExecutor(8) as pool:
        assert all(result == expected for result in pool.map(_sums, [packed] * 16))
    if os.path.isdir("/proc/self/fd"):
        links = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        assert sum(link.endswith(".bin") for link in links) <= OPEN_SHARDS
    if sys.platform == "linux":
        with get_context("fork").Pool(2) as pool:  # they share the positions of the files opened before
            assert all(result == expected for result in pool.map(_sums, [packed] * 8))


def test_the_command(crops, tmp_path, capsys):
    for person in ("00", "01"):
        (tmp_path / "crops" / person).mkdir(parents=True)
        (tmp_path / "crops" / person / "c1").symlink_to(crops / person)
    out = str(tmp_path / "pack")
    assert main(["pack", str(tmp_path / "crops"), out, "--layout", "{person}/c{camera}", "-q"]) == 0
    assert "crops: 2 to train on, 0 queries, 0 in the gallery; 8 frames" in capsys.readouterr().out
    made = load_benchmark(out)
    assert [(t.person, t.camera) for t in made.train] == [("00", "1"), ("01", "1")]
    assert main(["pack", str(tmp_path / "crops"), out, "--layout", "{person}/c{camera}", "--shard-mib", "1"]) == 1
    assert "is a pack of other data or other settings" in capsys.readouterr().err
    assert main(["pack", str(tmp_path / "none"), out]) == 1
    assert main(["pack", str(tmp_path / "crops"), out, "--dataset", "mars"]) == 1
    assert "where to ask for it" in capsys.readouterr().err
