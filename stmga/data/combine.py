"""Several data sets side by side, each with identities of its own, and one test for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.tracklets.tracklet import Tracklet
from stmga.utils.text import preview


def side_by_side(benchmarks: Sequence[Benchmark], *, test: Benchmark | None = None) -> Benchmark:
    """Train on several sets at once: person 7 of one set is a different person in another.

    Ids, persons and cameras of the training data become ``"NAME/..."``, so two sets never share one. The tests of these
    sets are left out. The test is that of ``test``, unchanged.

    Args:
        benchmarks: at least one, of different names.
        test: the set whose queries, gallery and protocol validate; None validates nothing.

    Raises:
        ValueError: no sets, two of one name, or a test without queries.

    >>> from stmga.tracklets.tracklet import Tracklet
    >>> def of(name):
    ...     walks = [Tracklet("1", ("1.jpg",), person=7)]
    ...     return Benchmark(name=name, train=walks, query=[], gallery=[], protocol=Protocol())
    >>> both = side_by_side([of("cuhk03"), of("market")])
    >>> both.name, [t.person for t in both.train]
    ('cuhk03 + market', ['cuhk03/7', 'market/7'])
    """
    names = [benchmark.name for benchmark in benchmarks]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected data sets (folders or files) of different names, got {preview(names) or 'none'}")
    if test is not None and not test.query:
        raise ValueError(f"{test.name} has no queries, so nothing can be tested on it; give its tracklets roles")
    name = " + ".join(names)
    every = [*benchmarks, *([test] if test is not None else [])]
    return Benchmark(
        name=name,
        train=[_owned(tracklet, benchmark.name) for benchmark in benchmarks for tracklet in benchmark.train],
        query=test.query if test is not None else [],
        gallery=test.gallery if test is not None else [],
        protocol=test.protocol if test is not None else Protocol(data=name),
        terms="; ".join(dict.fromkeys(benchmark.terms for benchmark in every if benchmark.terms)),
    )


def _owned(tracklet: Tracklet, name: str) -> Tracklet:
    """The tracklet with the name of its set as a prefix of every label."""
    person, camera = (None if x is None else f"{name}/{x}" for x in (tracklet.person, tracklet.camera))
    owned = replace(tracklet, id=f"{name}/{tracklet.id}", person=person, camera=camera)
    return owned.as_checked() if tracklet.checked else owned
