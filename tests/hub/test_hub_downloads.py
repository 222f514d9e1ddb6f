"""Downloads that never end, are too slow or have false headers: they are stopped, and nothing stays in the cache."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable

import pytest

from stmga import STMGA
from stmga.hub import download
from stmga.hub.records import WeightsError
from tests.support.fake_hub import FakeHub, Handler
from tests.support.hub import REPO, litter, refuse, same, sha256, use


class Hostile(FakeHub):
    """A Hub whose answers to requests that match a pattern are written by ``answer`` instead."""

    pattern, answer = "nothing", staticmethod(lambda handler: None)

    def __enter__(self):
        found = super().__enter__()
        own = self

        class Wrong(Handler):
            hub = own

            def handle_request(self):
                if re.fullmatch(own.pattern, f"{self.command} {self.path}"):
                    self.close_connection = True
                    own.answer(self)
                else:
                    super().handle_request()

            do_GET = do_HEAD = do_POST = handle_request  # noqa: N815

        self.server.RequestHandlerClass = Wrong
        return found


@pytest.fixture(name="hub")
def hub_fixture(monkeypatch, tmp_path, files):
    with Hostile() as fake:
        use(monkeypatch, fake.url, tmp_path)
        fake.commit(REPO, files)
        yield fake


def endless(
    pause: float = 0.0,
    piece: bytes = b"x" * 65536,
    most: int = 10**6,
    status: int = 200,
    headers: bool = True,
    **fields,
) -> Callable:
    """A body without an end, as far as the client can know; or headers without one."""

    def answer(handler) -> None:
        handler.send_response(status)
        for name, value in fields.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers() if headers else handler.flush_headers()
        try:
            for _ in range(most):
                handler.wfile.write(piece)
                handler.wfile.flush()
                time.sleep(pause)
        except OSError:
            pass  # the client has hung up, as it should

    return answer


def nothing_stays(tmp_path) -> None:
    assert litter(tmp_path) == []
    assert sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*") if file.is_file()) < 10**5


@pytest.mark.parametrize("what", [r"GET .*/model\.safetensors", r"GET .*/config\.json"])
def test_a_body_that_never_ends(hub, tmp_path, what):
    hub.pattern, hub.answer = what, endless()
    refuse("more than the", "given up")
    nothing_stays(tmp_path)


def test_an_answer_about_a_repository_that_never_ends(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ANSWER_LIMIT", 10**6)
    hub.pattern, hub.answer = "GET /api/.*", endless()
    refuse("more than the 1,000,000 bytes")
    nothing_stays(tmp_path)


def test_a_byte_at_a_time(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "WINDOW", 0.3)
    hub.pattern, hub.answer = r"GET .*/model\.safetensors", endless(0.02, b"x")
    start = time.monotonic()
    refuse("bytes a second and was given up")
    assert time.monotonic() - start < 30
    nothing_stays(tmp_path)


@pytest.mark.parametrize("what", [r"GET /api/.*", r"GET .*/model\.safetensors"])
@pytest.mark.parametrize("status", [404, 429, 500])
def test_an_error_whose_body_never_ends(hub, tmp_path, what, status):
    hub.pattern, hub.answer = what, endless(0.01, b"x" * 1024, status=status)
    refuse(f"HTTP {status}")
    nothing_stays(tmp_path)


def test_a_redirect_whose_body_never_ends(hub, model, files):
    away = f"{hub.url}/cdn/{REPO}/{hub.sha(REPO, 0)}/model.safetensors"
    hub.pattern = rf"GET /{REPO}/resolve/.*/model\.safetensors"
    hub.answer = endless(0.01, b"x" * 1024, status=302, Location=away)
    assert same(STMGA.from_pretrained(REPO), model)


@pytest.mark.parametrize("what", ["GET /api/.*", r"GET .*/config\.json.*"])
def test_redirects_that_never_end(hub, tmp_path, what):
    hub.pattern, hub.answer = what, endless(most=0, status=302, Location="?again", Content_Length="0")
    refuse("redirected", "more than 10 times")
    nothing_stays(tmp_path)


@pytest.mark.parametrize("piece", [b"x", b"X-More: 1\r\n", b"\r\nHTTP/1.1 103 Early Hints\r\n"])
@pytest.mark.parametrize("what", ["GET /api/.*", r"HEAD .*/config\.json", r"GET .*/model\.safetensors"])
def test_headers_that_never_end(hub, tmp_path, monkeypatch, what, piece):
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    hub.pattern, hub.answer = what, endless(0.1, piece, 300, status=103 if b"103" in piece else 200, headers=False)
    refuse("did not answer within")
    nothing_stays(tmp_path)


def test_a_chunk_whose_size_never_comes(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PATIENCE", 0.3)
    hub.pattern, hub.answer = r"GET .*/model\.safetensors", endless(0.1, b"0", 300, Transfer_Encoding="chunked")
    refuse("did not answer within")
    nothing_stays(tmp_path)


def test_a_slow_line_that_is_not_stalled(hub, model, monkeypatch):
    monkeypatch.setattr(download, "WINDOW", 0.0)  # every piece ends a window
    assert same(STMGA.from_pretrained(REPO), model)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_file_that_says_it_is_huge(hub, tmp_path, name):
    def answer(handler):
        handler.send_response(200)
        for key, value in {"Content-Length": 10**15, "ETag": '"abc"', "X-Repo-Commit": hub.sha(REPO, 0)}.items():
            handler.send_header(key, str(value))
        handler.end_headers()

    hub.pattern, hub.answer = rf"HEAD .*/{name}", answer
    refuse("1,000,000,000,000,000 bytes")
    nothing_stays(tmp_path)


@pytest.mark.parametrize("etag", ["../../../../pwned", "a/b", "", ".", "a\\b"])
def test_a_name_for_the_cache_that_leads_out_of_it(hub, tmp_path, etag):
    def answer(handler):
        handler.send_response(200)
        for key, value in {"Content-Length": 10, "ETag": f'"{etag}"', "X-Repo-Commit": hub.sha(REPO, 0)}.items():
            handler.send_header(key, str(value))
        handler.end_headers()

    hub.pattern, hub.answer = r"HEAD .*/config\.json", answer
    refuse("as no Hub does")
    assert not list(tmp_path.rglob("*pwned*"))
    nothing_stays(tmp_path)


@pytest.mark.parametrize(
    "answer", [None, {}, [], {"sha": None}, {"sha": 5}, {"sha": "../../x"}, {"sha": "A" * 40}, "text", 5, {"id": None}]
)
def test_an_answer_that_names_no_commit(hub, tmp_path, answer):
    def send(handler):
        handler.current = None
        handler.reply(200, json.dumps(answer).encode())

    hub.pattern, hub.answer = "GET /api/.*", send
    refuse("named no commit")
    nothing_stays(tmp_path)


@pytest.mark.parametrize("text", [b"", b"[" * 10**6, b"<html>", b"\xff\xfe", b'{"sha": NaN}'])
def test_an_answer_that_is_no_json(hub, text):
    def send(handler):
        handler.current = None
        handler.reply(200, text)

    hub.pattern, hub.answer = "GET /api/.*", send
    refuse("did not answer with JSON")


def test_weights_that_verify_and_cannot_be_used_are_not_kept(hub, files, tmp_path):
    bad = b"\0" * 8 + b"not weights"
    record = json.loads(files["config.json"]) | {"sha256": sha256(bad), "file_size": len(bad)}
    hub.commit(REPO, {"model.safetensors": bad, "config.json": json.dumps(record).encode()})
    refuse("not a complete safetensors file")
    assert not list((tmp_path / "cache").rglob("*.safetensors"))
    assert sha256(bad) not in {path.name for path in (tmp_path / "cache").rglob("*")}


def test_a_record_with_a_hostile_name_in_a_repository(hub, files):
    record = json.loads(files["config.json"]) | {"name": "\x1b]0;owned\x07"}
    hub.commit(REPO, {"config.json": json.dumps(record).encode()})
    assert "\x1b" not in refuse("config.json", r"\x1b")


def test_a_broken_line_is_tried_again(hub, model):
    seen = []

    def answer(handler):
        seen.append(1)
        hub.pattern = "nothing"  # once
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b"x" * 10)  # and the line is cut

    hub.pattern, hub.answer = r"GET .*/model\.safetensors", answer
    assert same(STMGA.from_pretrained(REPO), model)
    assert seen == [1]


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "user/..", "user/mo--del", "-a/b", "user/model\n"])
def test_a_name_of_a_repository_that_is_none(hub, model, name):
    with pytest.raises(WeightsError):
        model.push_to_hub(name)
    with pytest.raises(WeightsError):
        STMGA.from_pretrained(name)
    assert hub.log == []
