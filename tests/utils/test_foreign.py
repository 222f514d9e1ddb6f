"""Files and texts of strangers: nothing hangs, nothing fills the memory, nothing acts on the terminal."""

import os

import pytest

from stmga.utils.foreign import (
    check_regular,
    escaped,
    fast_json,
    inside,
    open_regular,
    parse_json,
    read_regular,
    shown,
    unprintable,
)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes in folders")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        for call in (open_regular, check_regular):
            with pytest.raises(OSError, match="not a regular file"):
                call(tmp_path / name)


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="a system without this device")
def test_a_device_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("/dev/zero")
    for path in ("/dev/zero", tmp_path / "link"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(path, 100)


def test_what_is_no_file(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "none", tmp_path / "loop", "a\0b", "\ud800"):
        for call in (lambda path: read_regular(path, 100), check_regular):
            with pytest.raises(OSError):
                call(path)


def test_a_file_has_at_most_its_limit(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_regular(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, and at most 4 are expected"):
        read_regular(tmp_path / "a", 4)
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)  # a terabyte that nobody may read
    with pytest.raises(OSError, match="1,099,511,627,776 bytes"):
        read_regular(tmp_path / "sparse", 1 << 20)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 10**6,
        "[" * 33 + "]" * 33,
        '{"a":' * 40 + "1" + "}" * 40,
        b"[NaN]",
        b"[-Infinity]",
        b"[1e999]",
        b'{"a": 1, "a": 2}',
        b"[" + b"9" * 5000 + b"]",
    ],
    ids=range(11),
)
def test_json_that_is_refused(text):
    with pytest.raises(ValueError) as caught:
        parse_json(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["[" * 10**5, '{"a":' * 10**5, "9" * 5000, "{", ""], ids=range(5))
def test_json_of_large_files_that_is_refused(text):
    with pytest.raises(ValueError) as caught:
        fast_json(text)
    assert len(str(caught.value)) < 200


def test_json_that_is_read():
    assert parse_json(b'{"a": [1, -2.5e3, null, true, "\\u00e4"], "b": {}}') == {
        "a": [1, -2500.0, None, True, "ä"],
        "b": {},
    }
    assert parse_json("[" * 32 + "]" * 32)


def test_what_is_shown_of_a_value():
    assert shown("\x1b[2J\n\u202e") == r"'\x1b[2J\n\u202e'"
    assert shown([1] * 10**5).startswith("[1, 1") and len(shown([1] * 10**5)) <= 80
    assert len(shown("\x1b" * 100)) <= 80


def test_characters_that_no_honest_text_holds():
    for text, found in (
        ("\0", r"\x00"),
        ("a\x7f", r"\x7f"),
        ("\ud800", r"\ud800"),
        ("a\u202eb", r"\u202e"),
        ("\r", r"\r"),
    ):
        assert unprintable(text) == found
    for text in ("", "plain", "Zürich, 庭 \N{GRINNING FACE}", "two\nlines\tand a tab"):
        assert unprintable(text) == ""


def test_a_link_out_of_a_folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_text("secret")
    (tmp_path / "in" / "own").write_text("mine")
    (tmp_path / "in" / "link").symlink_to("own")
    (tmp_path / "in" / "away").symlink_to(tmp_path / "out")
    assert inside(tmp_path / "in", "own") and inside(tmp_path / "in", "link")
    assert not inside(tmp_path / "in", "away") and not inside(tmp_path / "in", "../out")


def test_a_foreign_text_that_is_printed():
    assert escaped("a\x1b[2J\u202e\ud800 ä") == r"a\x1b[2J\u202e\ud800 ä"
    assert escaped("x" * 1000, 10) == "x" * 10 + "..."
