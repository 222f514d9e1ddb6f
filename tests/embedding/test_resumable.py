"""Embedding in pieces: killed and resumed, by two processes, with the same bits as by one; and what is refused."""

import logging
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from PIL import Image

from stmga import Embeddings, Tracklet, TrackletEmbedder
from stmga.embedding import resumable as pieces
from stmga.embedding.resumable import PiecesError, embed_in_pieces
from stmga.tracklets.tracklet import TrackletError
from stmga.utils.lock import OutputBusyError
from tests.support.embedder import TINY, build, tracklets
from tests.support.paths import ROOT


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE", 3)


@pytest.fixture(scope="module")
def model():
    return build(TINY).eval()


def same(a: Embeddings, b: Embeddings) -> bool:
    return torch.equal(a.vectors, b.vectors) and (a.items, a.digest) == (b.items, b.digest)


def test_pieces_are_one_file_at_the_end(model, tmp_path: Path) -> None:
    every = tracklets(1, 5, 4, 9, 2, 3, 7, 1)
    out = tmp_path / "all.safetensors"
    found = embed_in_pieces(TrackletEmbedder(model), every, out, name="mine")
    assert found is not None and same(found, Embeddings.load(out)) and found.model == "mine"
    whole = TrackletEmbedder(model)(every)
    assert found.ids == whole.ids and torch.allclose(found.vectors, whole.vectors, atol=1e-5)
    assert [p.name for p in tmp_path.iterdir()] == ["all.safetensors"]


def test_one_bar_counts_the_clips_of_all_pieces(model, tmp_path: Path, capfd) -> None:
    every = tracklets(1, 5, 4, 9, 2, 3, 7, 1)  # 1 + 2 + 1 + 3 + 1 + 1 + 2 + 1 clips of 4 frames
    embed_in_pieces(TrackletEmbedder(model, progress=True), every, tmp_path / "all.safetensors")
    err = capfd.readouterr().err
    assert "12/12" in err and err.count(" 0/") == 1


def test_what_was_done_before_a_kill_is_not_done_again(model, tmp_path: Path, monkeypatch, caplog) -> None:
    every = tracklets(1, 5, 4, 9, 2, 3, 7, 1)
    once = embed_in_pieces(TrackletEmbedder(model), every, tmp_path / "once.safetensors")
    seen: list[int] = []
    embed = TrackletEmbedder.embed

    def dies(self, some):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.append(len(some))
        return embed(self, some)

    monkeypatch.setattr(TrackletEmbedder, "embed", dies)
    out = tmp_path / "all.safetensors"
    with pytest.raises(KeyboardInterrupt):
        embed_in_pieces(TrackletEmbedder(model), every, out)
    folder = tmp_path / "all.safetensors.parts"
    assert sorted(p.name for p in folder.iterdir()) == [
        ".inputs.jsonl",
        "000000.safetensors",
        "000001.safetensors",
        "about.json",
    ]
    (folder / ".x.tmp").write_bytes(b"half")  # of a process that was killed while it wrote
    with open(folder / "000001.safetensors", "rb+") as file:
        file.truncate(200)
    seen.clear()
    monkeypatch.setattr(TrackletEmbedder, "embed", lambda self, some: seen.append(len(some)) or embed(self, some))
    with caplog.at_level(logging.INFO):
        again = embed_in_pieces(TrackletEmbedder(model), every, out)
    assert seen == [3, 2], "the first piece stays, the one cut short and the last are computed"
    assert "computed again" in caplog.text and "1 of 3 pieces are there" in caplog.text
    assert again is not None and same(again, once) and not folder.exists()


def test_pieces_of_another_run_are_left_alone(model, tmp_path: Path) -> None:
    every = tracklets(1, 5, 4, 2)
    folder = tmp_path / "all.safetensors.parts"
    with pieces.CLAIM.hold(folder, pieces._about(TrackletEmbedder(model), every)):
        pass
    with pytest.raises(PiecesError, match=r"another run: tracklets was .*; count was 4, now 3\. Remove it"):
        embed_in_pieces(TrackletEmbedder(model), every[:3], tmp_path / "all.safetensors")
    with torch.no_grad():
        other = build(TINY).eval()
        other.neck.bias.add_(1)
    with pytest.raises(PiecesError, match=r"another run: weights was"):
        embed_in_pieces(TrackletEmbedder(other), every, tmp_path / "all.safetensors")
    (folder / "about.json").write_text("{")
    with pytest.raises(PiecesError, match=r"about\.json is damaged.*Remove it"):
        embed_in_pieces(TrackletEmbedder(model), every, tmp_path / "all.safetensors")
    shutil.rmtree(folder)
    folder.mkdir()
    (folder / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(PiecesError, match=r"not empty \(holiday\.jpg\)\. Remove it"):
        embed_in_pieces(TrackletEmbedder(model), every, tmp_path / "all.safetensors")
    assert (folder / "holiday.jpg").exists()


def test_a_folder_that_does_not_exist_is_not_made(model, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        embed_in_pieces(TrackletEmbedder(model), tracklets(1), tmp_path / "nowhere" / "all.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_piece_that_is_missing_at_the_end_is_named(model, tmp_path: Path, monkeypatch) -> None:
    joined = pieces._joined

    def lost(folder, some):
        (folder / "000001.safetensors").unlink()
        return joined(folder, some)

    monkeypatch.setattr(pieces, "_joined", lost)
    with pytest.raises(PiecesError, match=r"lacks 1 of 2 pieces.*000001\.safetensors.*the same command again"):
        embed_in_pieces(TrackletEmbedder(model), tracklets(1, 2, 3, 4), tmp_path / "all.safetensors")


def test_processes_with_other_weights_are_refused(model) -> None:
    own = pieces._about(TrackletEmbedder(model), tracklets(1, 2))
    with pytest.raises(PiecesError, match=r"process 1 has weights ffff, this one weights .*must be started with"):
        pieces._agree(own, [own, own | {"weights": "ffff"}])


def test_a_piece_of_which_nothing_can_be_read(model, tmp_path: Path) -> None:
    good, lost = tracklets(1, 2, 3, 4), [Tracklet(f"x{i}", [tmp_path / f"none{i}.jpg"]) for i in range(3)]
    embedder = TrackletEmbedder(model, on_error="skip")
    found = embed_in_pieces(embedder, [*good[:3], *lost, good[3]], tmp_path / "all.safetensors")
    assert found is not None and found.ids == ["t0", "t1", "t2", "t3"] and len(found.skipped) == 3
    with pytest.raises(TrackletError, match="3 faults"):
        embed_in_pieces(embedder, lost, tmp_path / "none.safetensors")


SCRIPT = """
import sys, torch
sys.path.insert(0, sys.argv[1])
from tests.support.embedder import TINY, build, tracklets
from stmga import TrackletEmbedder
from stmga.embedding import resumable as pieces
from stmga.utils.distributed import process_group
torch.set_num_threads(1)
pieces.PIECE = 3
with process_group("cpu") as world:
    model = build(TINY).eval()
    if len(sys.argv) > 3 and world.rank:
        model.neck.bias.data.add_(1)
    done = pieces.embed_in_pieces(TrackletEmbedder(model), tracklets(1, 5, 4, 9, 2, 3, 7, 1), sys.argv[2], world)
    assert (done is None) == (world.rank > 0)
"""


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch has no distributed package here")
def test_two_processes_give_the_bits_of_one(model, tmp_path: Path) -> None:
    script, out = tmp_path / "script.py", tmp_path / "two.safetensors"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script]
    command += [ROOT, out]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run(list(map(str, command)), env=environment, check=True, timeout=240)
    one = embed_in_pieces(TrackletEmbedder(model), tracklets(1, 5, 4, 9, 2, 3, 7, 1), tmp_path / "one.safetensors")
    assert one is not None and same(Embeddings.load(out), one)
    unlike = subprocess.run(
        [*map(str, command), "other"], env=environment, capture_output=True, text=True, timeout=240, check=False
    )
    assert unlike.returncode != 0 and "must be started with the same weights" in unlike.stderr


def test_the_digest_is_taken_once_in_a_run(model, tmp_path, monkeypatch) -> None:
    looks, digest = [], model.digest
    monkeypatch.setattr(model, "digest", lambda: looks.append(1) or digest())
    embed_in_pieces(TrackletEmbedder(model), tracklets(1, 5, 4, 9, 2), tmp_path / "all.safetensors")
    assert len(looks) == 1


def test_weights_are_looked_at_once_a_run_and_anew_after_it(model, monkeypatch) -> None:
    embedder, looks, digest = TrackletEmbedder(model), [], model.digest
    monkeypatch.setattr(model, "digest", lambda: looks.append(1) or digest())
    with embedder.one_run([]):
        first = embedder.embed(tracklets(5, 3))
        before = len(looks)
        assert embedder.embed(tracklets(5, 3)).digest == first.digest
        assert len(looks) == before
    embedder.embed(tracklets(5, 3))
    assert len(looks) == before + 1


def test_pieces_of_files_that_changed_are_refused_by_name(model, tmp_path: Path, monkeypatch) -> None:
    files = [tmp_path / f"{i}.png" for i in range(5)]
    for i, file in enumerate(files):
        Image.new("RGB", (32, 64), (40 * i, 0, 0)).save(file)
    every, out = [Tracklet(file.stem, [file]) for file in files], tmp_path / "all.safetensors"

    def stopped(folder, some):
        raise KeyboardInterrupt

    def interrupted(**options) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(pieces, "_joined", stopped)
            with pytest.raises(KeyboardInterrupt):
                embed_in_pieces(TrackletEmbedder(model), every, out, **options)

    interrupted()
    Image.new("RGB", (32, 64), (0, 200, 0)).save(files[1])
    with pytest.raises(PiecesError, match=rf'tracklet "1": frame 0 \({files[1]}\) has changed.*Remove it'):
        embed_in_pieces(TrackletEmbedder(model), every, out)
    shutil.rmtree(tmp_path / "all.safetensors.parts")
    interrupted(trust_content=True)
    (tmp_path / "copy").mkdir()
    copies = [Tracklet(file.stem, [shutil.copyfile(file, tmp_path / "copy" / file.name)]) for file in files]
    with pytest.raises(PiecesError, match="frame 0"):
        embed_in_pieces(TrackletEmbedder(model), copies, out)
    found = embed_in_pieces(TrackletEmbedder(model), copies, out, trust_content=True)
    assert found is not None and [item["cover"]["file"] for item in found.items] == [
        str(tmp_path / "copy" / file.name) for file in files
    ], "pictures are where the files are now"


def test_a_second_process_on_one_output_is_told(model, tmp_path: Path, monkeypatch) -> None:
    """Of the same process, in another thread: tests/utils/test_lock.py has two processes."""
    every, out, found = tracklets(1, 2), tmp_path / "all.safetensors", []
    compute = pieces._compute

    def meanwhile(*args) -> None:
        def other() -> None:
            try:
                embed_in_pieces(TrackletEmbedder(model), every, out)
            except OutputBusyError as error:
                found.append(str(error))

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        compute(*args)

    monkeypatch.setattr(pieces, "_compute", meanwhile)
    assert embed_in_pieces(TrackletEmbedder(model), every, out) is not None
    assert len(found) == 1 and "is writing it; wait for it to end" in found[0]
    assert [file.name for file in tmp_path.iterdir()] == ["all.safetensors"]
