"""A live source: a small server on this computer sends a video once; crops are kept."""

import json
import socket
import threading

import pytest

from stmga.people import track
from stmga.tracklets import read_manifest
from tests.support.street import two_people
from tests.support.videos import filmed


@pytest.fixture
def stream(tmp_path):
    """The address of a server that sends a video to whoever asks first, and ends."""
    pytest.importorskip("trackers")
    pictures, _ = two_people()
    data = filmed(tmp_path / "street.ts", pictures).read_bytes()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(20)

    def serve():
        with server:
            client, _ = server.accept()
            with client:
                client.recv(65536)
                client.sendall(b"HTTP/1.0 200 OK\r\nContent-Type: video/mp2t\r\n\r\n" + data)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/live"
    thread.join(5)
    assert not thread.is_alive()


def test_a_live_source_leaves_whole_crops_and_a_manifest(stream, tmp_path):
    out = tmp_path / "out"
    tracklets = track(f"door={stream}", detector="motion", folder=out, start="2026-11-28T10:00:00Z")
    assert [t.id for t in tracklets] == ["door-1", "door-2"]
    for tracklet in read_manifest(out / "manifest.jsonl"):  # checks that every file is an image
        assert {frame.file.parent.parent for frame in tracklet.frames} == {out / "door"}
        assert len(tracklet) > 30 and tracklet.time > 1795860000
        assert tracklet.load([15])[0].shape[0] == 3
    rows = (out / "door.txt").read_text().splitlines()
    assert len(rows) == sum(map(len, tracklets)) == len(list(out.rglob("*.jpg")))
    assert json.loads((out / "videos.json").read_text())["door"]["tracks"] == 2


def test_ctrl_c_ends_a_live_source_and_keeps_what_was_found(stream, tmp_path):
    from stmga.people import Motion

    class Stopped(Motion):
        frames = 0

        def __call__(self, frame):
            self.frames += 1
            if self.frames == 35:
                raise KeyboardInterrupt
            return super().__call__(frame)

    out = tmp_path / "out"
    tracklets = track(f"door={stream}", detector=Stopped(10), folder=out)
    assert [len(t) > 15 for t in tracklets] == [True, True]
    assert len(read_manifest(out / "manifest.jsonl")) == 2


def test_a_live_source_needs_a_folder_and_must_answer(tmp_path):
    with pytest.raises(ValueError, match="pass folder="):
        track("http://127.0.0.1:9/live", detector="motion")
    with pytest.raises(ValueError, match=r"cannot open http://127\.0\.0\.1:9/live"):
        track("http://127.0.0.1:9/live", detector="motion", folder=tmp_path / "out")
