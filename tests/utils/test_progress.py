"""The progress bar: lively on a terminal, a line now and then in a file."""

import io
import sys

import pytest

from stmga.utils.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_a_file_gets_few_lines(monkeypatch, stream):
    shown = stream()
    monkeypatch.setattr(sys, "stderr", shown)
    bar = progress_bar(total=1000, shown=True, file=shown)
    now = bar.start_t
    bar._time = lambda: now
    for _ in range(1000):
        now += 0.5
        bar.update()
    bar.close()
    states = shown.getvalue().count("it/s]") + shown.getvalue().count("s/it]")
    assert (10 <= states <= 40) if stream is io.StringIO else states > 150
    assert "1000/1000" in shown.getvalue()


def test_nothing_is_written_if_it_is_not_shown(capsys):
    assert list(progress_bar(range(3), shown=False)) == [0, 1, 2]
    assert capsys.readouterr().err == ""
