"""A gallery in LanceDB is what a plain dictionary of vectors would be, and keeps nothing of what was removed."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import invariant

from tests.gallery.test_sqlite_states import GalleryMachine

pytest.importorskip("lancedb", reason="LanceDB is not installed (the extra `lance`)")


class LanceMachine(GalleryMachine):
    kind = "lance"
    name = "people.lance"

    @invariant()
    def leaves_no_traces_in_any_file(self):
        data = b"".join(file.read_bytes() for file in Path(self.folder.name).rglob("*") if file.is_file())
        assert not any(vector.numpy().tobytes() in data for vector in self.gone)
        names = {item["person"] for item, _ in self.rows.values()}
        assert not [name for name in ("ann", "ben") if name not in names and f'"{name}"'.encode() in data]


TestInLanceDB = LanceMachine.TestCase
TestInLanceDB.settings = settings(
    max_examples=10, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
