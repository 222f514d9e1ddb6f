"""Galleries of persons: enrol them, say who a tracklet is, forget them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from stmga.embedding.embeddings import Embeddings
from stmga.gallery.base import SearchableGallery, check_embeddings
from stmga.gallery.contents import Contents, pairs_excluded, self_rows
from stmga.gallery.matches import Assignment, GalleryError, PersonMatch
from stmga.gallery.persons import person_scores
from stmga.gallery.topk import topk
from stmga.gallery.where import Where
from stmga.tracklets.folders import natural_key
from stmga.utils.text import did_you_mean, preview

How = Literal["best", "mean", "robust"]


class PersonGallery(SearchableGallery):
    """A gallery whose tracklets have persons, whose names are compared as text: 7 and "7" are one."""

    @abstractmethod
    def ids_of(self, person: str) -> list[str]:
        """The ids of the tracklets of a person, whose name is compared as text."""

    @property
    def persons(self) -> dict[str, int]:
        """How many tracklets each known person has, in natural order of the names."""
        with self.reading() as contents:
            codes = contents.columns.person
        counts = torch.bincount(codes.numbers[codes.numbers >= 0], minlength=len(codes.names)).tolist()
        found = {name: count for name, count in zip(codes.names, counts, strict=True) if name is not None and count}
        return dict(sorted(found.items(), key=lambda item: natural_key(item[0])))

    def enrol(self, person: str, embeddings: Embeddings) -> None:
        """Add tracklets of one person, who may be in the gallery already.

        Raises:
            TypeError: a person who is neither a text nor a whole number.
            GalleryError: no name, no tracklet, or as :meth:`add`.
        """
        if not isinstance(person, (str, Integral, type(None))) or isinstance(person, bool):
            raise TypeError(f"a person is a text or a whole number, got {type(person).__name__}")
        check_embeddings(embeddings, "enrol")
        name = str(person)
        if person is None or not name.strip():
            raise GalleryError(f"a person needs a name, got {person!r}")
        if not len(embeddings):
            raise GalleryError(f"there is no tracklet to enrol {name!r} with")
        self.add(replace(embeddings, items=[{**item, "person": person} for item in embeddings.items]))

    def forget(self, person: str) -> int:
        """Remove a person with all tracklets; says how many these were.

        Raises:
            GalleryError: there is no such person.
        """
        ids = self.ids_of(str(person))
        if not ids:
            raise self._no_person(person)
        self.remove(ids)
        return len(ids)

    def require_person(self, person: str) -> None:
        """Raise GalleryError unless there is such a person."""
        if not self.ids_of(str(person)):
            raise self._no_person(person)

    def _no_person(self, person: str) -> GalleryError:
        names = list(self.persons)
        hint = did_you_mean(str(person), names) or (f"it has {preview(names)}" if names else "it has no persons")
        return GalleryError(f"the gallery has no person {str(person)!r}; {hint}")

    def search_persons(
        self,
        queries: Embeddings,
        k: int = 10,
        *,
        how: How = "best",
        other_camera: bool = False,
        where: Where | None = None,
        block: int = 4096,
    ) -> list[list[PersonMatch]]:
        """The ``k`` most similar persons of each query, best first; equal ones in the order of their tracklets.

        Tracklets without a person take no part. A query is not compared with the gallery tracklet of its own id.

        Args:
            how: the similarity of a person: ``"best"`` is that of the most similar tracklet, ``"mean"`` the cosine with
                the mean vector of the tracklets, ``"robust"`` the mean of the upper half of the similarities.
            other_camera, where, block: as in :meth:`search`.
        """
        if how not in get_args(How):
            raise ValueError(f"how must be one of {', '.join(map(repr, get_args(How)))}, got {how!r}")
        self.check_search(queries, k, block=block)
        with self.reading() as contents:
            return self._search_persons(contents, queries, k, how, other_camera, where, block)

    def _search_persons(
        self,
        contents: Contents,
        queries: Embeddings,
        k: int,
        how: str,
        other_camera: bool,
        where: Where | None,
        block: int,
    ) -> list[list[PersonMatch]]:
        columns, own = contents.columns, self_rows(queries, contents)
        exclude = pairs_excluded(queries, contents, other_camera, where)
        unit = F.normalize(queries.vectors.double(), dim=1)

        def excluded(q: slice, g: slice) -> Tensor:
            itself = own[q, None] == torch.arange(g.start, g.stop, dtype=torch.int64, device="cpu")
            return itself if exclude is None else itself | exclude(q, g)

        found: list[list[PersonMatch]] = []
        names = columns.person.names
        if not names:
            return [[] for _ in queries]
        for _, scored in person_scores(unit, contents.parts, columns.person.numbers, len(names), how, excluded, block):
            values, order = scored.scores.sort(dim=1, descending=True, stable=True)
            found += [
                _person_matches(contents, names, values[i, :k], order[i, :k], scored.best[i], scored.counts[i])
                for i in range(len(values))
            ]
        return found

    def assign(
        self,
        queries: Embeddings,
        *,
        known: float = 1e-4,
        new: float = 1e-2,
        thresholds: tuple[float, float] | None = None,
        how: How = "best",
    ) -> list[Assignment]:
        """Who each tracklet is: a known person, a new one, or unsure.

        A false-match rate is that of one comparison. A stranger is compared with every tracklet of the gallery, so in a
        large gallery more strangers than this come out as known, and few as new. Lower rates, or thresholds measured
        with your own gallery, correct this.

        Args:
            known, new: false-match rates of the calibration: "known" from the threshold of the first on, "new" below
                that of the second, "unsure" between.
            thresholds: both thresholds instead, as similarities.
            how: as in :meth:`search_persons`.

        Raises:
            ValueError: neither a calibration nor thresholds, or thresholds in the wrong order.
            GalleryError: the queries were made with other weights.
        """
        check_embeddings(queries, "assign")
        high, low = self._thresholds(queries, known, new) if thresholds is None else thresholds
        if not -1 <= low <= high <= 1:
            raise ValueError(f"known must begin where new ends or above, both in -1..1, got {high:g} and {low:g}")
        nearest = self._nearest(queries, how) if len(self) else [None] * len(queries)
        return [_assignment(name, found, high, low) for name, found in zip(queries.ids, nearest, strict=True)]

    def _nearest(self, queries: Embeddings, how: How) -> list[tuple[str, float] | None]:
        """The most similar person of each query, and how similar."""
        if how != "best":
            return [(found[0].person, found[0].similarity) if found else None
                    for found in self.search_persons(queries, 1, how=how)]  # fmt: skip
        self.check_search(queries, 1)
        with self.reading() as contents:  # the most similar tracklet says who it is; scores of others are not needed
            person = contents.columns.person
            similarities, rows = topk(
                queries.vectors, contents.parts, 1, self_rows=self_rows(queries, contents), threshold=None, block=4096,
                exclude=lambda q, g: (person.numbers[g] < 0).expand(q.stop - q.start, -1), device=self.device,
            )  # fmt: skip
        return [(str(person.names[int(person.numbers[row])]), value) if row >= 0 else None
                for value, row in zip(similarities[:, 0].tolist(), rows[:, 0].tolist(), strict=True)]  # fmt: skip

    def _thresholds(self, queries: Embeddings, known: float, new: float) -> tuple[float, float]:
        calibration = self.calibration or queries.calibration
        if calibration is None:
            raise ValueError(
                "neither the gallery nor the queries have a calibration, which says what similarities mean: "
                "pass thresholds=(known, new), or calibrate the embeddings (`stmga calibrate`)"
            )
        return calibration.threshold(known).similarity, calibration.threshold(new).similarity


def _person_matches(
    contents: Contents, names: Sequence[str | None], values: Tensor, persons: Tensor, best: Tensor, counts: Tensor
) -> list[PersonMatch]:
    """The best persons of one query, those with anything to compare."""
    order = [(value, person) for value, person in zip(values.tolist(), persons.tolist(), strict=True)
             if value > -torch.inf]  # fmt: skip
    items = contents.items_at([int(best[person]) for _, person in order])
    return [
        PersonMatch(str(names[person]), value, rank, int(counts[person]), str(item["tracklet"]))
        for rank, ((value, person), item) in enumerate(zip(order, items, strict=True), start=1)
    ]


def _assignment(tracklet: str, found: tuple[str, float] | None, high: float, low: float) -> Assignment:
    if found is None:
        return Assignment(tracklet, None, "new", None, high, low)
    person, similarity = found
    if similarity < low:
        return Assignment(tracklet, None, "new", similarity, high, low)
    return Assignment(tracklet, person, "known" if similarity >= high else "unsure", similarity, high, low)
