"""Items made in another thread: the same ones, in order, with their errors."""

import threading
import time

import pytest

from stmga.utils.ahead import read_ahead


def test_items_come_in_order():
    assert list(read_ahead(iter(range(100)), size=3)) == list(range(100))


def test_an_error_comes_after_the_items_before_it():
    def items():
        yield 1
        yield 2
        raise ValueError("damaged")

    seen = []
    with pytest.raises(ValueError, match="damaged"):
        seen.extend(seen.append(item) for item in read_ahead(items()))
    assert [item for item in seen if item] == [1, 2]


def test_no_more_than_its_size_is_made_ahead():
    made = []

    def items():
        for number in range(100):
            made.append(number)
            yield number

    ahead = read_ahead(items(), size=2)
    next(ahead)
    time.sleep(0.1)
    assert len(made) <= 1 + 2 + 1  # given out, waiting, and one that waits for room
    ahead.close()


def test_the_thread_has_ended_when_the_caller_stops_early():
    before = threading.active_count()
    ahead = read_ahead(iter(range(1000)), size=2)
    assert next(ahead) == 0
    ahead.close()
    assert threading.active_count() == before
