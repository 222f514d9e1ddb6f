"""Damaged files of every format: read, or refused with the error that the documentation names, and no other.

The long form, for minutes and with limits of time and memory: ``python -m tests.support.fuzz FORMAT --minutes 10``.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.support.fuzz.__main__ import FORMATS
from tests.support.fuzz.formats import Example


@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_are_read_or_refused(tmp_path, name):
    form = FORMATS[name](tmp_path)
    outcomes = set()

    @settings(
        derandomize=True, deadline=None, max_examples=60, phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(form.examples())
    def examples(example: Example) -> None:
        outcomes.add(form.attempt(example))

    examples()
    assert len(outcomes) > 1 and "accepted" in outcomes, outcomes  # neither too weak nor too strong
