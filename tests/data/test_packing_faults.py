"""Killed, truncated or damaged packs, and full disks: no wrong data is read, and the final bytes are the same."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import textwrap

import pytest

import stmga.data.shards as shards_module
from stmga.data import load_benchmark, pack
from stmga.tracklets.images import close_shards
from stmga.tracklets.manifest import read_manifest
from stmga.tracklets.tracklet import TrackletError
from tests.support.packs import all_of, benchmark, content
from tests.support.paths import ROOT
from tests.support.tracklets import faults_of, manifest

KILLED = """
    import os, signal, sys
    sys.path.insert(0, {root!r})
    import stmga.data.shards as shards
    from tests.support.packs import benchmark
    from stmga.data import pack
    from pathlib import Path

    put, left = shards.Shards._fill, [{after}]

    def fill(self, out, *rest):
        left[0] -= 1
        if left[0] < 0:
            out.write(b"half a shard"), out.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return put(self, out, *rest)

    shards.Shards._fill = fill
    pack(benchmark(Path({crops!r})), {folder!r}, shard_bytes=20_000)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_killed_and_taken_up_again_gives_the_same_bytes(crops, tmp_path):
    source = benchmark(crops)
    pack(source, tmp_path / "whole", shard_bytes=20_000)
    for after in (0, 2):
        folder = tmp_path / f"killed{after}"
        code = KILLED.format(root=str(ROOT), after=after, crops=str(crops), folder=str(folder))
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False, capture_output=True)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert len(list(folder.glob("shard-*.bin"))) == after
        assert list(folder.glob(".shard-*.tmp")) and not (folder / "manifest.jsonl").exists()
        with pytest.raises(TrackletError, match="is a pack that is not finished: run `stmga pack` again to resume"):
            load_benchmark(folder)
        kept = {file: file.stat().st_mtime_ns for file in folder.glob("shard-*.bin")}
        pack(source, folder, shard_bytes=20_000)
        assert content(folder) == content(tmp_path / "whole")
        assert all(file.stat().st_mtime_ns == then for file, then in kept.items())  # not written again


def test_killed_at_every_step_of_the_end(crops, tmp_path, monkeypatch):
    """Whichever file was written last, the next run ends with the same bytes."""
    source = benchmark(crops)
    pack(source, tmp_path / "whole", shard_bytes=20_000)
    replace, step = os.replace, 0
    while True:
        folder, left = tmp_path / f"step{step}", [step]

        def stopped(a, b, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            return replace(a, b)

        monkeypatch.setattr(os, "replace", stopped)
        try:
            pack(source, folder, shard_bytes=20_000)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            monkeypatch.undo()
        pack(source, folder, shard_bytes=20_000)
        assert content(folder) == content(tmp_path / "whole")
        step += 1
    assert step > 8  # pack.json, two for each shard, protocol.json, manifest.jsonl


def test_a_full_disk_keeps_what_is_done(crops, tmp_path, monkeypatch):
    source, folder = benchmark(crops), tmp_path / "pack"
    pack(source, tmp_path / "whole", shard_bytes=20_000)
    fill, left = shards_module.Shards._fill, [2]

    def full(self, out, *rest):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return fill(self, out, *rest)

    monkeypatch.setattr(shards_module.Shards, "_fill", full)
    with pytest.raises(OSError, match=r"No space left on device.*the 2 shards finished before it stay") as caught:
        pack(source, folder, shard_bytes=20_000)
    assert caught.value.errno == errno.ENOSPC and caught.value.filename == str(folder / "shard-00002.bin")
    assert len(list(folder.glob("shard-*.bin"))) == 2 and not list(folder.glob(".*.tmp"))
    monkeypatch.undo()
    pack(source, folder, shard_bytes=20_000)
    assert content(folder) == content(tmp_path / "whole")


def test_a_shard_that_was_cut_is_written_again(crops, tmp_path):
    source = benchmark(crops)
    pack(source, tmp_path / "whole", shard_bytes=20_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards_module.Shards, "tidy", lambda self: None)
        pack(source, tmp_path / "pack", shard_bytes=20_000)
    (tmp_path / "pack/manifest.jsonl").unlink()
    os.truncate(tmp_path / "pack/shard-00001.bin", 100)
    pack(source, tmp_path / "pack", shard_bytes=20_000)
    assert content(tmp_path / "pack") == content(tmp_path / "whole")


def test_damaged_packs_are_named_by_shard(crops, tmp_path):
    pack(benchmark(crops), tmp_path / "pack", shard_bytes=20_000)
    os.truncate(tmp_path / "pack/shard-00000.bin", 1000)
    (tmp_path / "pack/shard-00002.bin").unlink()
    one, two = faults_of(load_benchmark, tmp_path / "pack")
    assert "shard-00000.bin has 1,000 bytes, its frames go up to " in one and "copy the pack again" in one
    assert "shard-00002.bin does not exist" in two and "manifest.jsonl:" in two
    made = load_benchmark(tmp_path / "pack", check_files=False)
    close_shards()
    with pytest.raises(
        TrackletError, match=r'tracklet "t0": cannot read .*shard-00000\.bin: the file ends before byte'
    ):
        made.train[0].load()
    with pytest.raises(TrackletError, match="No such file"):
        next(t for t in all_of(made) if t.frames[0].file.name == "shard-00002.bin").load()
    assert made.train[-1].load()
    (tmp_path / "pack/protocol.json").write_text("{}")
    with pytest.raises(TrackletError, match=r"protocol\.json cannot be read"):
        load_benchmark(tmp_path / "pack")


def test_wrong_lines_of_packed_frames(tmp_path):
    (tmp_path / "s.bin").write_bytes(bytes(100))
    rows = {
        '{"tracklet": "a", "frames": {"file": "s.bin", "spans": []}}': "has no frames",
        '{"tracklet": "b", "frames": {"file": "s.bin"}}': 'frames must be a list, or {"file": name, "spans": ',
        '{"tracklet": "c", "frames": {"file": "s.bin", "spans": [[0, 1.5]]}}': "frames must be a list, or",
        '{"tracklet": "d", "frames": {"file": "s.bin", "spans": [[0, 9]], "boxes": []}}': "boxes must be a list of as",
        '{"tracklet": "e", "frames": {"file": "s.bin", "spans": [[0, 9]], "boxes": [[1]]}}': "frame 0: box must be",
        '{"tracklet": "f", "frames": {"file": "s.bin", "spans": [[0, 9]], "x": 1}}': "unknown key 'x' in frames",
        '{"tracklet": "g", "frames": {"file": "s.bin", "spans": [[-1, 9], [3, 9]]}}': "frame 0: ",
        '{"tracklet": "h", "frames": {"file": "s.bin", "spans": [[0, 101]]}}': "has 100 bytes, its frames go up to 101",
        '{"tracklet": "i", "frames": [{"file": "s.bin", "span": 3}]}': "span must be [offset, length]",
        '{"tracklet": "j", "frames": [{"file": "s.bin", "span": [0, 3], "index": 2}]}': "and of no video",
    }
    path = manifest(tmp_path, *rows)
    faults = faults_of(read_manifest, path)
    for number, words in enumerate(rows.values(), 1):
        mine = [words in fault for fault in faults if fault.startswith(f"{path}:{number}: ")]
        assert mine == [True], (number, faults)
    assert len(faults) == len(rows)


def test_a_pack_is_resumed_over_the_same_files_only(crops, tmp_path):
    source, folder = benchmark(crops), tmp_path / "pack"
    pack(source, folder, shard_bytes=20_000, trust_content=True)
    whole = content(folder)
    file = all_of(source)[0].frames[0].file
    before = os.stat(file)
    try:
        os.utime(file, ns=(0, 1))
        with pytest.raises(ValueError, match=r"frame 0 \(.*\) has changed: its path, size, modification time"):
            pack(source, folder, shard_bytes=20_000)
        pack(source, folder, shard_bytes=20_000, trust_content=True)
        assert content(folder) == whole
    finally:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b"[]", b"[" * 10**5, b"\xff", b'{"frames": {"spans": []}}', b'{"frames": {"spans": [[0, "1"]]}}',
        b'{"frames": {"spans": [[0]]}}', b'{"frames": {"spans": 5}}', b'{"frames": {"spans": [[0, NaN]]}}',
    ],
    ids=range(10),
)  # fmt: skip
def test_damaged_lines_beside_a_shard_are_written_again(crops, tmp_path, text):
    """As after a kill: the manifest is missing, and each shard has its lines beside it."""
    source, folder = benchmark(crops), tmp_path / "pack"
    manifest = pack(source, folder, shard_bytes=20_000)
    whole = content(folder)
    manifest.unlink()
    (folder / "shard-00000.jsonl").write_bytes(text)
    pack(source, folder, shard_bytes=20_000)
    assert content(folder) == whole
