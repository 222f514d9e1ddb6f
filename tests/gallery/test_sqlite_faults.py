"""Files that are no gallery, are damaged, or are being written: each is named, and nothing is lost."""

import contextlib
import logging
import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from stmga import Embeddings, Gallery
from stmga.gallery import GalleryError, SqliteGallery
from stmga.gallery.sqlite_file import TABLES
from tests.support.gallery import DIGEST, calibration, embeddings

ITEMS = [{"tracklet": f"t{i}", "person": "ann" if i % 2 else "ben", "camera": i % 3} for i in range(300)]


@pytest.fixture(name="path")
def path_fixture(tmp_path):
    with Gallery.open(tmp_path / "people.db") as gallery:
        gallery.add(embeddings(ITEMS, calibration=calibration()))
    return tmp_path / "people.db"


def changed(path, *statements, values=()):
    with sqlite3.connect(path) as db:
        for statement in statements:
            db.execute(statement, values)
    db.close()


def everything(path):
    with SqliteGallery(path, read_only=True) as gallery:
        query = embeddings(ITEMS[:1], seed=5)
        return gallery.persons, gallery.search(query), gallery.search_persons(query), gallery.embeddings


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("people.safetensors", "puts embeddings into one"),
        ("people", r"which ends in \.db, \.sqlite, \.sqlite3 or \.lance"),
    ],
)
def test_other_names_are_refused(tmp_path, name, said):
    with pytest.raises(ValueError, match=said):
        Gallery.open(tmp_path / name)
    assert not (tmp_path / name).exists()


def test_a_missing_file_is_not_made_when_it_is_only_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        Gallery.open(tmp_path / "nothing.db", read_only=True)
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        Gallery.open(tmp_path / "nowhere" / "people.db")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"no database at all" * 99, b"SQLite format 3\0" + b"x" * 5000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "people.db"
    path.write_bytes(content)
    for read_only in (False, True):
        with pytest.raises((GalleryError, OSError), match=r"people\.db"):
            Gallery.open(path, read_only=read_only)
    assert path.read_bytes() == content


def test_another_database_is_refused(tmp_path):
    changed(tmp_path / "other.db", "CREATE TABLE friends (name TEXT)")
    with pytest.raises(GalleryError, match=r"is not a gallery; expected a file made by `stmga enrol` or Gallery\.open"):
        Gallery.open(tmp_path / "other.db")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("PRAGMA user_version = 2", "is a gallery of format 2, this stmga reads format 1"),
        ("CREATE TABLE more (x)", "has other tables than a gallery"),
        ("CREATE TRIGGER t AFTER INSERT ON gaps BEGIN DELETE FROM tracklets; END", "has other tables than a gallery"),
        ("DROP INDEX tracklets_hash", "has other tables than a gallery"),
    ],
)
def test_a_gallery_of_another_form_is_refused(path, statement, said):
    changed(path, statement)
    with pytest.raises(GalleryError, match=said):
        SqliteGallery(path)


@pytest.mark.parametrize(
    ("statement", "values"),
    [
        ("UPDATE blocks SET vectors = ? WHERE number = 1", (b"short",)),
        ("UPDATE blocks SET vectors = ? WHERE number = 1", (np.full((128, 8), np.nan, np.float32).tobytes(),)),
        ("UPDATE blocks SET vectors = ? WHERE number = 0", ("text",)),
        ("UPDATE blocks SET persons = ? WHERE number = 1", (b"",)),
        ("UPDATE blocks SET persons = ? WHERE number = 1", (np.full(128, 2**30, np.int32).tobytes(),)),
        ("UPDATE blocks SET times = ? WHERE number = 1", (b"1",)),
        ("DELETE FROM blocks WHERE number = 1", ()),
        ("UPDATE about SET value = '-4' WHERE key = 'count'", ()),
        ("UPDATE about SET value = '9999' WHERE key = 'count'", ()),
        ("UPDATE about SET value = '7' WHERE key = 'dim'", ()),
        ("UPDATE about SET value = '{' WHERE key = 'calibration'", ()),
        ("UPDATE texts SET data = '7'", ()),
        ("UPDATE texts SET data = '{'", ()),
        ("UPDATE texts SET data = '{}'", ()),
        ("UPDATE texts SET data = x'ff'", ()),
        ("DELETE FROM texts", ()),
        ("UPDATE labels SET number = 1000000000 WHERE number = 1", ()),
        ("DELETE FROM tracklets", ()),
    ],
)
def test_damage_inside_is_an_error_of_the_gallery(path, statement, values):
    changed(path, statement, values=values)
    with pytest.raises(GalleryError, match=r"damage|wrong size|cannot be used|numbers per vector"):
        everything(path)


def test_damaged_pages_give_no_other_error(path):
    whole = path.read_bytes()
    dice = np.random.default_rng(0)
    for _ in range(60):
        data = bytearray(whole)
        start = int(dice.integers(100, len(data) - 2000))
        data[start : start + 2000] = dice.bytes(2000)
        path.write_bytes(data)
        with contextlib.suppress(GalleryError, OSError):
            everything(path)


def test_the_last_of_two_writers_is_refused_and_then_served(path, monkeypatch):
    monkeypatch.setattr("stmga.gallery.sqlite_file.WAIT", 0.2)
    with SqliteGallery(path) as one, SqliteGallery(path) as two:
        with one._file.writing(), pytest.raises(GalleryError, match="read or written by another process; try again"):
            two.enrol("zoe", embeddings([{"tracklet": "z"}], seed=1))
        two.enrol("zoe", embeddings([{"tracklet": "z"}], seed=1))
        assert one.persons == {"ann": 150, "ben": 150, "zoe": 1}


def test_a_gallery_that_is_only_read_cannot_be_changed(path):
    with (
        SqliteGallery(path, read_only=True) as gallery,
        pytest.raises(GalleryError, match="was opened with read_only=True"),
    ):
        gallery.forget("ann")


def test_threads_share_a_gallery(path):
    with SqliteGallery(path) as gallery:
        wanted = [match.id for match in gallery.search(embeddings(ITEMS[:1], seed=5))[0]]
        found, faults = [], []

        def search():
            try:
                found.extend([m.id for m in gallery.search(embeddings(ITEMS[:1], seed=5))[0]] for _ in range(20))
            except Exception as error:  # the test shows it
                faults.append(error)

        threads = [threading.Thread(target=search) for _ in range(4)]
        for thread in threads:
            thread.start()
        far = -embeddings(ITEMS[:1], seed=5).vectors  # never among the best
        for i in range(20):
            gallery.enrol("zoe", Embeddings(far, [{"tracklet": f"z{i}"}], DIGEST))
            gallery.forget("zoe")
        for thread in threads:
            thread.join()
        assert not faults
        assert len(found) == 80
        assert found[-1] == wanted


HALF_WRITTEN = """
import os, sys
from stmga.gallery import SqliteGallery
gallery = SqliteGallery(sys.argv[1])
with gallery._file.writing() as db:
    db.execute("PRAGMA cache_size = 1")  # pages go to the file before the end
    db.execute("UPDATE blocks SET vectors = zeroblob(4096)")
    db.execute("DELETE FROM tracklets")
    os._exit(9)
"""


@pytest.mark.parametrize("read_only", [False, True])
def test_after_a_kill_the_last_whole_state_is_opened_and_that_is_said(path, caplog, read_only):
    before = path.read_bytes()
    assert subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(path)], check=False).returncode == 9
    assert os.path.getsize(f"{path}-journal") and path.read_bytes() != before
    with caplog.at_level(logging.WARNING), SqliteGallery(path, read_only=read_only) as gallery:
        assert len(gallery) == 300
        assert torch.equal(gallery.embeddings.vectors, embeddings(ITEMS).vectors)
    assert "the last write was not finished; the gallery is as it was before it" in caplog.text
    assert not os.path.exists(f"{path}-journal")


def test_what_does_not_fit_is_refused_and_changes_nothing(path):
    before = path.read_bytes()
    other = embeddings([{"tracklet": "x"}])
    wrong = [
        (Embeddings(other.vectors, other.items, digest="2a2a"), "vectors of different weights cannot be compared"),
        (embeddings([{"tracklet": "x"}], dim=9), "have 8 numbers per vector"),
        (embeddings([{"tracklet": "t7"}]), "1 of the ids to add are in the gallery already: t7"),
        (replace(other, calibration=calibration(known=0.9)), "another calibration than the gallery"),
        (embeddings([{"tracklet": "x", "note": float("nan")}]), "cannot be kept as JSON"),
    ]
    broken = embeddings([{"tracklet": "x"}])
    broken.vectors[0, 0] = torch.nan
    with SqliteGallery(path) as gallery:
        for given, said in [*wrong, (broken, "not finite")]:
            with pytest.raises(ValueError, match=said):
                gallery.add(given)
        with pytest.raises(TypeError, match="add\\(\\) takes Embeddings, got list"):
            gallery.add([1, 2])
    assert path.read_bytes() == before


def test_the_tables_are_those_that_the_version_stands_for():
    """Another table is another version: galleries in files are kept for years."""
    import hashlib

    assert hashlib.sha256("\n".join(TABLES).encode()).hexdigest()[:16] == "94dbbc797ec73894"
