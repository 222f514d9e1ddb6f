"""A gallery in a file is what a plain dictionary of vectors would be, whatever is done with it, and in any order."""

import tempfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from stmga import Embeddings, Gallery
from stmga.gallery import GalleryError
from tests.support.gallery import DIGEST, embeddings, person_scores

NAMES = ["ann", "ben", 7, "Zoë", None]


class GalleryMachine(RuleBasedStateMachine):
    """`rows`: by id, the item and the vector. No tracklet is named like another, so that traces can be found."""

    kind = "sqlite"
    name = "people.db"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / self.name
        self.gallery = Gallery() if self.kind == "memory" else Gallery.open(self.path)
        self.rows: dict[str, tuple[dict, torch.Tensor]] = {}
        self.number = 0
        self.gone: list[torch.Tensor] = []

    def teardown(self) -> None:
        self.gallery.close()
        self.folder.cleanup()

    def new(self, count: int, person) -> Embeddings:
        self.number += 1
        items = [
            {"tracklet": f"tracklet-{self.number}-{i}", "person": person, "camera": i % 2, "note": ["x"] * i}
            for i in range(count)
        ]
        return embeddings(items, seed=self.number, dim=16)

    def drop(self, ids) -> None:
        for name in ids:
            self.gone.append(self.rows.pop(name)[1])

    @rule(count=st.integers(1, 5), person=st.sampled_from(NAMES))
    def add(self, count, person):
        new = self.new(count, person)
        self.gallery.add(new)
        self.rows |= {item["tracklet"]: (item, vector) for item, vector in new}

    @rule(count=st.integers(1, 200), person=st.sampled_from(NAMES[:-1]))
    def enrol(self, count, person):
        new = self.new(count, None)
        self.gallery.enrol(person, new)
        self.rows |= {item["tracklet"]: (item | {"person": person}, vector) for item, vector in new}

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def remove(self, data):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.rows)), unique=True, min_size=1))
        self.gallery.remove(ids)
        self.drop(ids)

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), person=st.sampled_from(NAMES))
    def update(self, data, person):
        ids = data.draw(st.lists(st.sampled_from(sorted(self.rows)), unique=True, min_size=1))
        self.number += 1
        new = embeddings([{"tracklet": name, "person": person} for name in ids], seed=self.number, dim=16)
        self.gallery.update(new)
        self.gone += [self.rows[name][1] for name in ids]
        self.rows |= {item["tracklet"]: (item, vector) for item, vector in new}

    @rule(person=st.sampled_from(NAMES[:-1]))
    def forget(self, person):
        ids = [name for name, (item, _) in self.rows.items() if str(item["person"]) == str(person)]
        if ids:
            assert self.gallery.forget(person) == len(ids)
            self.drop(ids)
        else:
            with pytest.raises(GalleryError, match="has no person"):
                self.gallery.forget(person)

    @rule()
    def refuse(self):
        """A change with one fault changes nothing; the invariants look."""
        for call in (self.gallery.remove, lambda ids: self.gallery.update(self.new(1, None))):
            with pytest.raises(GalleryError):
                call([*self.rows, "nobody"])
        if self.rows:
            name = next(iter(self.rows))
            with pytest.raises(GalleryError, match="already"):
                self.gallery.add(embeddings([{"tracklet": "fresh"}, {"tracklet": name}], dim=16))

    @precondition(lambda self: self.kind != "memory")
    @rule()
    def reopen(self):
        self.gallery.close()
        self.gallery = Gallery.open(self.path)

    @precondition(lambda self: self.rows)
    @rule(seed=st.integers(0, 99), how=st.sampled_from(["best", "mean", "robust"]))
    def search(self, seed, how):
        queries = embeddings([{"tracklet": "q"}], seed=1000 + seed, dim=16)
        query = queries.vectors[0]
        wanted = sorted(((float(query @ vector), name) for name, (_, vector) in self.rows.items()), reverse=True)
        found = self.gallery.search(queries, 5)[0]
        assert [match.id for match in found] == [name for _, name in wanted[:5]]
        people = [(str(i["person"]), v) for i, v in self.rows.values() if i["person"] is not None]
        scores = person_scores(query, people, how)
        found = {match.person: match.similarity for match in self.gallery.search_persons(queries, 9, how=how)[0]}
        assert found == pytest.approx(scores, abs=1e-5)

    @invariant()
    def holds_what_it_should(self):
        assert len(self.gallery) == len(self.rows)
        counts: dict[str, int] = {}
        for item, _ in self.rows.values():
            if item["person"] is not None:
                counts[str(item["person"])] = counts.get(str(item["person"]), 0) + 1
        assert self.gallery.persons == counts
        if self.rows:
            there = self.gallery.embeddings
            assert {item["tracklet"]: item for item, _ in there} == {n: item for n, (item, _) in self.rows.items()}
            assert all(torch.equal(vector, self.rows[item["tracklet"]][1]) for item, vector in there)
            assert there.digest == DIGEST

    @precondition(lambda self: self.kind == "sqlite")
    @invariant()
    def leaves_no_traces(self):
        assert [file.name for file in self.path.parent.iterdir()] == ["people.db"]
        data = self.path.read_bytes()
        assert not any(vector.numpy().tobytes() in data for vector in self.gone)
        names = {item["person"] for item, _ in self.rows.values()}
        assert not [name for name in ("ann", "ben") if name not in names and f'"{name}"'.encode() in data]


class MemoryMachine(GalleryMachine):
    kind = "memory"


FEW = settings(max_examples=15, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
TestInAFile = pytest.mark.filterwarnings("ignore")(GalleryMachine.TestCase)
TestInMemory = MemoryMachine.TestCase
TestInAFile.settings = TestInMemory.settings = FEW
