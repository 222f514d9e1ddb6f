"""Several data sets side by side, each with identities of its own, and one test for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.text import some


def side_by_side(benchmarks: Sequence[Benchmark], *, test: Benchmark | None = None) -> Benchmark:
    """Train on several sets at once: person 7 of one is nobody of another.

    Ids, persons and cameras to train on become ``"NAME/..."``, so those of two sets never meet. What each set would
    test on is left out; the test is that of ``test``, which stays as it is.

    Args:
        benchmarks: at least one, of different names.
        test: the set whose queries, gallery and protocol validate.

    Raises:
        ValueError: no sets, or two of one name.

    >>> from stmga.tracklets import Tracklet
    >>> def of(name):
    ...     walks = [Tracklet("1", ("1.jpg",), person=7)]
    ...     return Benchmark(name=name, train=walks, query=[], gallery=[], protocol=Protocol())
    >>> both = side_by_side([of("cuhk03"), of("market")])
    >>> both.name, [t.person for t in both.train]
    ('cuhk03 + market', ['cuhk03/7', 'market/7'])
    """
    names = [benchmark.name for benchmark in benchmarks]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected data sets of different names, got {some(names) or 'none'}")
    train = [
        replace(
            tracklet,
            id=f"{benchmark.name}/{tracklet.id}",
            person=None if tracklet.person is None else f"{benchmark.name}/{tracklet.person}",
            camera=None if tracklet.camera is None else f"{benchmark.name}/{tracklet.camera}",
        )
        for benchmark in benchmarks
        for tracklet in benchmark.train
    ]
    every = [*benchmarks, *([test] if test is not None else [])]
    return Benchmark(
        name=" + ".join(names),
        train=train,
        query=test.query if test is not None else [],
        gallery=test.gallery if test is not None else [],
        protocol=test.protocol if test is not None else Protocol(data=" + ".join(names)),
        terms="; ".join(dict.fromkeys(benchmark.terms for benchmark in every if benchmark.terms)),
    )
