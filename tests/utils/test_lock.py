"""One writer for each output: who comes second is told, and a killed writer blocks nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from stmga.utils.files import atomic_path, atomic_write
from stmga.utils.lock import OutputBusyError, lock_file, output_lock
from tests.support.paths import ROOT

HOLDER = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
from stmga.utils.files import atomic_path
with atomic_path(sys.argv[2]) as temp:
    temp.write_bytes(b"half")
    if len(sys.argv) > 3 and os.fork() == 0:
        time.sleep(30)  # a worker that outlives its parent for a while
        os._exit(0)
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture(name="holder")
def holder_fixture(tmp_path):
    """Starts a process that holds the lock of ``tmp_path/out``."""
    started = []

    def start(*extra: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", HOLDER, str(ROOT), str(tmp_path / "out"), *extra]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        if hasattr(os, "killpg"):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with its worker
        process.kill()
        process.communicate()


def test_a_second_process_is_told_and_may_write_afterwards(tmp_path, holder):
    out = tmp_path / "out"
    process = holder()
    told = rf"another process \({process.pid}\) is writing it; wait"
    with pytest.raises(OutputBusyError, match=told) as caught, atomic_path(out):
        pass
    assert caught.value.filename == str(out)
    process.kill()
    process.wait()
    assert len(list(tmp_path.iterdir())) == 2, "the lock file and half of the output"
    atomic_write(out, b"whole")
    assert [file.name for file in tmp_path.iterdir()] == ["out"] and out.read_bytes() == b"whole"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_workers_that_outlive_a_killed_writer_do_not_hold_its_lock(tmp_path, holder):
    process = holder("fork")
    process.kill()
    process.wait()
    with output_lock(tmp_path / "out"):
        pass


def test_the_thread_that_has_it_may_take_it_again_and_another_may_not(tmp_path):
    found: list[BaseException] = []

    def other() -> None:
        try:
            with output_lock(tmp_path / "out"):
                pass
        except OutputBusyError as error:
            found.append(error)

    with output_lock(tmp_path / "out"), output_lock(tmp_path / "out"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        with output_lock(tmp_path / "out"):
            pass
        assert lock_file(tmp_path / "out").exists()
    assert len(found) == 1 and "another thread of this process" in str(found[0])
    assert not list(tmp_path.iterdir())


def test_writers_of_a_small_file_wait_for_each_other(tmp_path):
    threads = [threading.Thread(target=atomic_write, args=(tmp_path / "out", bytes([i]) * 99)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set((tmp_path / "out").read_bytes())) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_in_the_place_of_the_lock_file_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("years of work")
    lock_file(tmp_path / "out").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="the file was not written"):
        atomic_write(tmp_path / "out", b"1")
    assert (tmp_path / "precious").read_text() == "years of work"


def test_only_temporary_files_of_the_same_output_are_swept(tmp_path: Path):
    digits = "0" * 32
    names = [f".out.{digits}.tmp", f".out.bin.{digits}.tmp", ".out.notes.tmp", f"out.{digits}.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"1")
    atomic_write(tmp_path / "out", b"2")
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted([*names[1:], "out"])


def test_a_file_system_without_locks_is_written_with_a_warning(tmp_path, monkeypatch, caplog):
    fcntl = pytest.importorskip("fcntl")

    def unsupported(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", unsupported)
    atomic_write(tmp_path / "out", b"1")
    assert (tmp_path / "out").read_bytes() == b"1" and "start no other process" in caplog.text
