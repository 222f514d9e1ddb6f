"""A benchmark from any tracklets: by their roles, or with some persons held out for a test."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from stmga.data.benchmark import Benchmark
from stmga.metrics.protocol import Protocol
from stmga.tracklets.folders import natural_key
from stmga.tracklets.tracklet import Tracklet, TrackletError
from stmga.utils.text import preview

logger = logging.getLogger(__name__)

ROLES = ("train", "query", "gallery")
WITHIN_CAMERA = (
    'to test within a camera, leave the camera out: a layout such as "{person}/{place}/{tracklet}", or a manifest '
    "without camera"
)


def benchmark_from(
    tracklets: Sequence[Tracklet],
    *,
    name: str,
    protocol: Protocol | None = None,
    holdout: float = 0.0,
    seed: int = 0,
    terms: str = "",
) -> Benchmark:
    """Tracklets by their roles: ``extra["role"]`` is ``"train"``, ``"query"`` or ``"gallery"``, order as it comes.

    If none has a role, or all have the role ``"train"``, a share of the persons can be held out as a test. With
    cameras, each of these persons that two cameras saw gives one query per camera: the first tracklet there by natural
    order of the ids. Without cameras, each person with two tracklets gives the first as a query. All other tracklets of
    the held-out persons are the gallery; the log counts persons without a query. The choice of persons depends only on
    the persons and the seed, not on the order.

    Args:
        tracklets: as read, ids unique.
        name: of the data set.
        protocol: of the test. Default: the other queries are in the gallery, and the own camera is removed, as are
            unknown cameras if any camera is known.
        holdout: share of the persons, 0 to 1; 0 holds out none.
        seed: of the choice of persons.
        terms: of use.

    Raises:
        ValueError: `holdout` is out of range, the data already have a test, or no tracklet can be a query.
        TrackletError: a role of another name, or some tracklets with a role and some without.

    >>> walks = [Tracklet(f"{p}-{c}", ("1.jpg",), p, c) for p in range(10) for c in ("door", "yard")]
    >>> made = benchmark_from(walks, name="mine", holdout=0.2)
    >>> len(made.train), len(made.query), len(made.gallery), made.protocol.data
    (16, 4, 0, 'mine, 20 % of its persons held out with seed 0')
    """
    if not 0 <= holdout <= 1:
        raise ValueError(f"holdout is a share of the persons, 0 to 1, got {holdout!r}")
    parts = _by_role(tracklets)
    protocol = protocol or Protocol(data=name)
    tests = len(parts["query"]) + len(parts["gallery"])
    if holdout and tests:
        raise ValueError(f"{name} has a test of its own ({tests:,} tracklets): leave holdout at 0, got {holdout:g}")
    if holdout:
        parts = _held_out(parts["train"], holdout, seed)
        words = f"{holdout:.0%} of its persons held out with seed {seed}".replace("%", " %")
        protocol = replace(protocol, data=f"{protocol.data or name}, {words}")
    return Benchmark(name=name, protocol=protocol, terms=terms, **parts)


def _by_role(tracklets: Iterable[Tracklet]) -> dict[str, list[Tracklet]]:
    tracklets = list(tracklets)
    roles = Counter(str(tracklet.extra.get("role")) for tracklet in tracklets if "role" in tracklet.extra)
    faults = [
        f'tracklet "{t.id}": role {t.extra["role"]!r} is none of {", ".join(ROLES)}'
        for t in tracklets
        if "role" in t.extra and t.extra["role"] not in ROLES
    ]
    without = [t.id for t in tracklets if "role" not in t.extra]
    if roles and without:
        words = f"{len(without):,} of {len(tracklets):,} tracklets have no role and the others do: {preview(without)}"
        faults.append(f"{words}; give every one a role ({', '.join(ROLES)}), or none")
    if faults:
        raise TrackletError(faults)
    if not roles:
        return {"train": tracklets, "query": [], "gallery": []}
    return {role: [t for t in tracklets if t.extra["role"] == role] for role in ROLES}


def _held_out(tracklets: list[Tracklet], share: float, seed: int) -> dict[str, list[Tracklet]]:
    persons = {str(tracklet.person) for tracklet in tracklets if tracklet.person is not None}
    if len(persons) < 2:
        words = "read the data with a layout that names the {person}, or set holdout to 0"
        raise ValueError(f"holdout {share:g} needs at least 2 persons, the set has {len(persons)}: {words}")
    order = sorted(persons, key=lambda person: hashlib.sha256(f"{seed} {person}".encode("utf-8", "replace")).digest())
    chosen = set(order[: max(1, round(share * len(order)))])
    mine: dict[str, list[Tracklet]] = defaultdict(list)
    for tracklet in tracklets:
        if tracklet.person is not None and str(tracklet.person) in chosen:
            mine[str(tracklet.person)].append(tracklet)
    cameras = any(t.camera is not None for own in mine.values() for t in own)
    asking = {id(t) for own in mine.values() for t in _queries(own, cameras)}
    if not asking:
        raise ValueError(_why_nobody_asks(tracklets, chosen, cameras))
    _say_who_cannot_ask(mine, asking, cameras)
    test = [t for t in tracklets if t.person is not None and str(t.person) in chosen]
    train = [t for t in tracklets if t.person is None or str(t.person) not in chosen]
    query, gallery = ([t for t in test if (id(t) in asking) == asks] for asks in (True, False))
    return {"train": train, "query": query, "gallery": gallery}


def _why_nobody_asks(tracklets: Iterable[Tracklet], chosen: set[str], cameras: bool) -> str:
    """The reason and the remedy. Another choice of persons helps only if another person could give a query."""
    everybody: dict[str, list[Tracklet]] = defaultdict(list)
    for tracklet in tracklets:
        if tracklet.person is not None:
            everybody[str(tracklet.person)].append(tracklet)
    if any(_queries(own, cameras) for own in everybody.values()):
        need = "seen by two cameras" if cameras else "with two tracklets"
        held = sorted(chosen, key=natural_key)
        words = f"nobody among the {len(held):,} persons held out ({preview(held)}) is {need}"
        return f"{words}, so there is nothing to look for; hold out more, or use another seed"
    if all(len(own) < 2 for own in everybody.values()):
        return (
            "no person of the set has two tracklets, so there is nothing to look for; a test needs several per person"
        )
    names = sorted({str(t.camera) for own in everybody.values() for t in own if t.camera is not None}, key=natural_key)
    if len(names) == 1:
        words = f"the set names one camera only ({names[0]}), and a test across cameras needs two"
    else:
        words = f"no person of the set is seen by two of its {len(names)} cameras ({preview(names)})"
    return f"{words}; {WITHIN_CAMERA}"


def _queries(own: list[Tracklet], cameras: bool) -> list[Tracklet]:
    """The queries of one person; none if they could have no match."""
    own = sorted(own, key=lambda tracklet: natural_key(tracklet.id))
    if not cameras:
        return own[:1] if len(own) > 1 else []
    first: dict[str, Tracklet] = {}
    for tracklet in own:
        if tracklet.camera is not None:
            first.setdefault(str(tracklet.camera), tracklet)
    return list(first.values()) if len(first) > 1 else []


def _say_who_cannot_ask(mine: dict[str, list[Tracklet]], asking: set[int], cameras: bool) -> None:
    silent = sorted((p for p, own in mine.items() if not any(id(t) in asking for t in own)), key=natural_key)
    if silent:
        why = "were seen by one camera only" if cameras else "have one tracklet only"
        words = "%d of %d persons held out %s and cannot be queries, they are in the gallery alone: %s"
        logger.warning(words, len(silent), len(mine), why, preview(silent))
