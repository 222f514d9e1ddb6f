"""A gallery in a file that others have open too, or left in another state."""

import logging
import sqlite3
import subprocess
import sys

import pytest

from stmga.gallery import GalleryError, SqliteGallery
from stmga.gallery import sqlite_blocks as blocks
from tests.support.gallery import embeddings

ITEMS = [{"tracklet": f"t{i}", "person": f"p{i % 7}", "camera": i % 3} for i in range(700)]
WRITE = """
import sys
import stmga.gallery.sqlite_file as file
from stmga.gallery import SqliteGallery
file.WAIT = 0.1
with SqliteGallery(sys.argv[1]) as gallery:
    gallery.remove(["t5"])
"""


@pytest.fixture(name="path")
def path_fixture(tmp_path):
    with SqliteGallery(tmp_path / "people.db") as gallery:
        gallery.add(embeddings(ITEMS))
    return tmp_path / "people.db"


def test_opening_a_gallery_again_keeps_the_lock_of_its_writer(path):
    """POSIX takes the locks of a process away when it closes any descriptor of the file."""
    with SqliteGallery(path) as one, one._file.writing():
        SqliteGallery(path, read_only=True).close()
        other = subprocess.run([sys.executable, "-c", WRITE, str(path)], capture_output=True, text=True, check=False)
        assert "being read or written by another process" in other.stderr
    assert subprocess.run([sys.executable, "-c", WRITE, str(path)], check=False).returncode == 0


@pytest.mark.parametrize("read_only", [False, True])
def test_a_writer_at_work_is_not_a_write_that_was_not_finished(path, caplog, read_only):
    with SqliteGallery(path) as one, one._file.writing() as db:
        db.execute("DELETE FROM spares")
        db.execute("UPDATE blocks SET vectors = vectors WHERE number = 0")
        assert (path.parent / "people.db-journal").stat().st_size
        with caplog.at_level(logging.WARNING), SqliteGallery(path, read_only=read_only) as two:
            assert len(two) == 700
    assert not caplog.text


def test_a_log_of_another_mode_does_not_keep_what_is_erased(path):
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    db.close()
    gone = embeddings(ITEMS).vectors[1].numpy().tobytes()
    with SqliteGallery(path) as gallery:
        gallery.forget("p1")
        left = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert list(left) == ["people.db"]
    assert gone not in left["people.db"] and b'"p1"' not in left["people.db"]


def test_a_closed_gallery_says_so(path):
    gallery = SqliteGallery(path)
    gallery.close()
    for call in (lambda: len(gallery), lambda: gallery.forget("p1"), lambda: gallery.search(embeddings(ITEMS[:1]))):
        with pytest.raises(GalleryError, match="is closed; open it again"):
            call()


def test_many_blocks_are_changed_a_few_at_a_time(path, monkeypatch):
    monkeypatch.setattr(blocks, "AT_ONCE", 2)
    most = []
    save = blocks.Blocks.save
    monkeypatch.setattr(blocks.Blocks, "save", lambda self: (most.append(len(self.changed)), save(self)))
    with SqliteGallery(path) as gallery:
        gallery.remove([f"t{i}" for i in range(699, -1, -2)])  # from the last block to the first
        new = embeddings([{"tracklet": f"t{i}", "person": "new"} for i in range(698, -1, -2)], seed=3)
        gallery.update(new)
        assert max(most) == 2 and len(most) == 2 * 3
        kept = gallery.embeddings
        assert kept.ids == sorted(new.ids, key=lambda name: int(name[1:]))
        assert all(bool((kept[item["tracklet"]].vector == vector).all()) for item, vector in new)


def test_persons_who_were_forgotten_take_no_place(path):
    with SqliteGallery(path) as gallery:
        for i in range(20):
            gallery.enrol(f"visitor {i}", embeddings([{"tracklet": f"v{i}"}], seed=i))
            gallery.forget(f"visitor {i}")
        gallery.enrol("zoe", embeddings([{"tracklet": "z"}], seed=99))
        gallery.forget("p3")
        with gallery.reading() as contents:
            assert sorted(contents.columns.person.names) == ["p0", "p1", "p2", "p4", "p5", "p6", "zoe"]
        assert gallery.search_persons(embeddings([{"tracklet": "q"}], seed=99), 1)[0][0].person == "zoe"
        assert gallery.persons == dict.fromkeys(("p0", "p1", "p2", "p4", "p5", "p6"), 100) | {"zoe": 1}


def test_what_another_process_writes_is_seen_at_once(path):
    """Columns are kept in memory until the file changes."""
    with SqliteGallery(path) as one, SqliteGallery(path) as two:
        for name in ("zoe", "ann"):
            assert name not in one.persons and name not in two.persons
            two.enrol(name, embeddings([{"tracklet": name}], seed=5))
            assert one.persons[name] == two.persons[name] == 1
        two.forget("zoe")
        assert "zoe" not in one.persons and "zoe" not in two.persons
