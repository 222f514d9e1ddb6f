"""`evaluate`: what counts by which protocol; against loops, official lists, published numbers and another scorer."""

import importlib.util
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stmga import Embeddings
from stmga.metrics import NoMatchError, Protocol, Reranking, evaluate, rank_scores, rerank
from stmga.metrics.counting import block_ranks, device_ranks
from tests.support.paths import DATA


def needs(name):
    return pytest.mark.skipif(not (DATA / name).exists(), reason=f"{DATA / name} is not here")


def embeddings(vectors, persons, cameras, prefix="", **more):
    columns = {"person": persons, "camera": cameras, **more}
    rows = zip(*columns.values(), strict=True)
    items = [{"tracklet": f"{prefix}{i}", **dict(zip(columns, row, strict=True))} for i, row in enumerate(rows)]
    return Embeddings(torch.as_tensor(vectors), items, digest="1f0c")


def by_loop(queries, gallery, p):
    """The protocol one entry at a time: (precisions, trapezoid precisions, first places, penalties, uncounted)."""
    entries = list(zip(gallery.items, gallery.vectors, strict=True))
    entries += list(zip(queries.items, queries.vectors, strict=True)) if p.queries_in_gallery else []
    entries = [e for e in entries if str(e[0]["person"]) not in map(str, p.junk)]
    kept = [[i for i in side.items if str(i["person"]) not in map(str, p.junk)] for side in (queries, gallery)]
    blind = any(all(item["camera"] is None for item in items) for items in kept)
    hits_ap, trapezoid, firsts, penalties, uncounted = [], [], [], [], 0
    for item, vector in zip(queries.items, queries.vectors, strict=True):
        if str(item["person"]) in map(str, p.junk):
            continue
        ranked = sorted(entries, key=lambda e: -float(vector @ e[1]))  # sorted is stable: ties by gallery order
        place, hits, precision, mean, first, last, before = 0, 0, [], [], None, None, 1.0
        for other, _ in ranked:
            if other["tracklet"] == item["tracklet"]:
                continue
            nobody = item["person"] is None or str(item["person"]) in map(str, p.distractors)
            right = not nobody and str(other["person"]) == str(item["person"])
            unknown = item["camera"] is None or other["camera"] is None
            if right and unknown and p.unknown_camera == "remove" and not blind:
                continue
            if right and not unknown and p.same_camera == "remove" and str(item["camera"]) == str(other["camera"]):
                continue
            place += 1
            hits += right
            if right:
                precision.append(hits / place)
                mean.append((before + hits / place) / 2)
                first, last = first or place, place
            before = hits / place
        if first is None:
            uncounted += 1
            continue
        hits_ap.append(np.mean(precision))
        trapezoid.append(np.mean(mean))
        firsts.append(first)
        penalties.append(hits / last)
    return hits_ap, trapezoid, firsts, penalties, uncounted


@settings(max_examples=120, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    q=st.integers(1, 6),
    g=st.integers(1, 25),
    cameras=st.sampled_from([[None], [None, 1, 2], [1, "1", 2], [1, 2, 3]]),
    inside=st.booleans(),
    same=st.sampled_from(["remove", "keep"]),
    unknown=st.sampled_from(["remove", "keep"]),
    block=st.sampled_from([None, 1, 2]),
)
def test_agrees_with_the_loop(seed, q, g, cameras, inside, same, unknown, block):
    random = np.random.default_rng(seed)
    people = [None, "ann", 7, "7", -1, 0]
    found = []
    for n, prefix in ((q, "q"), (g, "g")):
        vectors = np.eye(3, dtype=np.float32)[random.integers(0, 3, n)]  # equal or orthogonal: ties everywhere
        who, where = ([labels[k] for k in random.integers(0, len(labels), n)] for labels in (people, cameras))
        found.append(embeddings(vectors, who, where, prefix))
    rules = dict(queries_in_gallery=inside, same_camera=same, unknown_camera=unknown, junk=(-1,), distractors=("0",))
    protocol = Protocol(**rules)
    hits, trapezoid, firsts, penalties, uncounted = by_loop(*found, protocol)
    if not hits:
        with pytest.raises(ValueError, match=r"none of the|no queries|gallery is empty"):
            evaluate(*found, protocol)
        return
    result = evaluate(*found, protocol, block=block)
    assert result.mAP == pytest.approx(np.mean(hits), abs=1e-12)
    assert result.mINP == pytest.approx(np.mean(penalties), abs=1e-12)
    assert evaluate(*found, Protocol(**rules, ap="trapezoid")).mAP == pytest.approx(np.mean(trapezoid), abs=1e-12)
    for k in (1, 2, 5, g + 10):
        assert result.rank(k) == pytest.approx(np.mean(np.array(firsts) <= k), abs=1e-12)
    assert result.scores.queries == len(hits)
    assert sum(map(len, result.uncounted.values())) == uncounted == result.queries - len(hits)


def test_the_reasons_of_queries_that_do_not_count():
    q = embeddings(torch.eye(5), ["a", "b", "c", None, "d"], [1, 1, 1, 1, 1], "q")
    g = embeddings(torch.eye(5), ["a", "b", "c", "b", "x"], [2, 1, None, None, 1], "g")
    g.items[3]["camera"] = 1
    result = evaluate(q, g, Protocol(queries_in_gallery=False))
    expected = {"no_person": ("q3",), "absent": ("q4",), "own_camera": ("q1",), "unknown_camera": ("q2",)}
    assert dict(result.uncounted) == expected
    assert result.to_dict()["uncounted"] == dict.fromkeys(expected, 1)
    assert "1 of 5 count" in str(result)
    assert result.protocol.describe() in str(result)
    json.dumps(result.to_dict())
    with pytest.raises(NoMatchError, match=r"none of the 1 queries.*: 1 have their person only in their own camera"):
        evaluate(q.select([1]), g, Protocol(queries_in_gallery=False))


def test_a_camera_that_may_be_one_of_several():
    q = embeddings(torch.eye(3)[:2], ["a", "a"], [1, 2], "q")
    vectors = torch.eye(3)[[0, 0]]
    g = embeddings(vectors, ["a", "b"], [None, None], "g", camera_candidates=[["2", 3], None])
    result = evaluate(q, g, Protocol(queries_in_gallery=False))
    assert dict(result.uncounted) == {"unknown_camera": ("q1",)}
    g.items[0]["camera_candidates"] = 2
    with pytest.raises(ValueError, match="camera_candidates of g0 must be a list"):
        evaluate(q, g)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_distances(distance):
    torch.manual_seed(0)
    q = embeddings(torch.randn(9, 4) * 3, list(range(3)) * 3, [1] * 9, "q")
    g = embeddings(torch.randn(30, 4), list(range(3)) * 10, [2] * 30, "g")
    result = evaluate(q, g, Protocol(distance=distance, queries_in_gallery=False))
    x, y = q.vectors.double(), g.vectors.double()
    similarity = -torch.cdist(x, y) if distance == "euclidean" else torch.cosine_similarity(x[:, None], y[None], dim=2)
    assert result.scores == rank_scores(similarity, q.persons, g.persons)


def test_reranking_is_switched_on_by_the_protocol():
    torch.manual_seed(0)
    centres = torch.randn(10, 16)
    who = list(range(10)) * 6
    q = embeddings(centres[who[:10]] + torch.randn(10, 16), who[:10], [1] * 10, "q")
    g = embeddings(centres[who] + torch.randn(60, 16), [*who[:-1], -1], [1, 2] * 30, "g")
    rules = dict(junk=(-1,), queries_in_gallery=False)
    kept = torch.cat(list(rerank(q.vectors, g.vectors[:-1], distance="cosine")))
    cameras = dict(query_cameras=q.cameras, gallery_cameras=g.cameras[:-1])
    by_hand = rank_scores(-kept, q.persons, g.persons[:-1], **cameras)
    result = evaluate(q, g, Protocol(**rules, reranking=Reranking()))
    assert (result.mAP, result.mINP, result.rank(1)) == (by_hand.mAP, by_hand.mINP, by_hand.rank(1))
    assert result.gallery == 59
    assert result.mAP != evaluate(q, g, Protocol(**rules)).mAP


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), b=st.integers(1, 5), g=st.integers(1, 300), levels=st.integers(1, 50))
def test_the_form_for_accelerators_counts_the_same(seed, b, g, levels):
    random = np.random.default_rng(seed)
    block = torch.from_numpy(random.integers(0, levels, (b, g)).astype(np.float32))
    split = random.integers(0, 3, (b, g))
    right, removed = ([np.flatnonzero(row == kind) for row in split] for kind in (0, 1))
    here, there = block_ranks(block.clone(), right, removed), device_ranks(block.clone(), right, removed)
    order = np.argsort(-block.numpy(), axis=1, kind="stable")
    for i in range(b):
        listed = order[i][~np.isin(order[i], removed[i])]
        places = np.flatnonzero(np.isin(listed, right[i]))
        assert here[i].tolist() == there[i].tolist() == places.tolist()


@pytest.mark.cuda
def test_the_same_on_a_gpu():
    torch.manual_seed(0)
    q = embeddings(torch.randn(50, 64), list(range(25)) * 2, [1] * 50, "q")
    g = embeddings(torch.randn(900, 64), list(range(30)) * 30, [1, 2, 3] * 300, "g")
    for protocol in (Protocol(), Protocol(distance="euclidean"), Protocol(reranking=Reranking())):
        here, there = evaluate(q, g, protocol), evaluate(q, g, protocol, device="cuda")
        assert here.mAP == pytest.approx(there.mAP, abs=1e-6)
        assert here.rank(1) == there.rank(1)


def test_mistakes_are_named():
    a = embeddings(torch.eye(2), ["a", "b"], [1, 1], "a")
    other = Embeddings(torch.eye(2), a.items, digest="other", model="m.v1")
    with pytest.raises(ValueError, match=r"m.v1 \(digest other\).* different weights cannot be compared"):
        evaluate(a, other)
    with pytest.raises(ValueError, match="the queries have 2 numbers per vector, the gallery's vectors 3"):
        evaluate(a, embeddings(torch.eye(3), "abc", "123", "b"))
    with pytest.raises(ValueError, match=r"2 queries are in the gallery already \(a0, a1\)"):
        evaluate(a, a)
    with pytest.raises(ValueError, match="gallery is empty"):
        evaluate(a, a.select([]), Protocol(queries_in_gallery=False))
    with pytest.raises(ValueError, match="gallery is empty: 2 tracklets"):
        evaluate(embeddings(torch.eye(2), "cd", "12", "c"), a, Protocol(junk=("a", "b"), queries_in_gallery=False))
    with pytest.raises(ValueError, match="no queries to evaluate"):
        evaluate(a, embeddings(torch.eye(2), "cd", "12", "c"), Protocol(junk=("a", "b")))


# ---- the official MARS lists


@pytest.fixture(scope="module")
def mars():
    io = pytest.importorskip("scipy.io", reason="scipy reads the official lists")
    if not (DATA / "protocol-info").is_dir():
        pytest.skip(f"{DATA / 'protocol-info'} is not here")
    tracks = io.loadmat(DATA / "protocol-info/tracks_test_info.mat")["track_test_info"]
    chosen = io.loadmat(DATA / "protocol-info/query_IDX.mat")["query_IDX"].ravel() - 1
    random = np.random.default_rng(0)
    vectors = random.normal(size=(len(tracks), 16)).astype(np.float32)
    every = embeddings(vectors, tracks[:, 2].tolist(), tracks[:, 3].tolist())
    is_query = np.isin(np.arange(len(tracks)), chosen)
    return every.select(chosen), every.select(~is_query)


def test_the_counts_of_mars(mars):
    result = evaluate(*mars, Protocol(data="MARS test", junk=(-1,), distractors=(0,)))
    assert (result.queries, result.scores.queries, result.gallery) == (1980, 1980, 11310)
    assert (result.junk, result.distractors, round(result.scores.matches, 1)) == (870, 3248, 11.0)
    assert not result.uncounted
    apart = evaluate(*mars, Protocol(data="MARS test", junk=(-1,), distractors=(0,), queries_in_gallery=False))
    assert (apart.queries, apart.scores.queries, apart.gallery) == (1980, 1840, 9330)
    assert sum(map(len, apart.uncounted.values())) == 140


# ---- published numbers on Market-1501


@needs("market1501-test-features.npz")
def test_the_published_numbers_of_market1501():
    z = np.load(DATA / "market1501-test-features.npz")
    q, g = (
        embeddings(torch.from_numpy(z[s]).float(), z[f"{s}_person"].tolist(), z[f"{s}_camera"].tolist(), s[0])
        for s in ("query", "gallery")
    )
    result = evaluate(q, g, Protocol(junk=(-1,), distractors=(0,), queries_in_gallery=False))
    assert [round(100 * value, 2) for value in (result.rank(1), result.rank(5), result.rank(10), result.mAP)] == [
        86.07,
        94.42,
        96.35,
        59.78,
    ]


# ---- the other scorer of mars8-dev


@needs("mars8-dev.zip")
@needs("score.py")
def test_agrees_with_the_data_sets_own_scorer():
    spec = importlib.util.spec_from_file_location("score", DATA / "score.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    rows, rules = module.load(DATA / "mars8-dev.zip")
    random = np.random.default_rng(0)
    persons = {row["person"]: random.normal(size=32) for row in rows}
    features = np.stack([persons[row["person"]] + 3 * random.normal(size=32) for row in rows]).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    theirs = module.score(rows, rules, [row["tracklet"] for row in rows], features)
    every = Embeddings(torch.from_numpy(features), rows, digest="1f0c")
    q, g = (every.select([row["role"] == role for row in rows]) for role in ("query", "gallery"))
    ours = evaluate(q, g)
    assert (ours.scores.queries, ours.gallery) == (theirs["queries"], theirs["gallery"])
    assert ours.mAP == pytest.approx(theirs["mAP"], abs=1e-6)
    assert [ours.rank(k) for k in (1, 5, 10)] == pytest.approx([theirs[f"rank-{k}"] for k in (1, 5, 10)], abs=2e-3)


def test_all_faults_of_a_protocol_are_in_one_message():
    with pytest.raises(ValueError, match=r"^invalid Protocol: ap must be one of .*, got 'x'; distance must be one of"):
        Protocol(ap="x", distance="y")
    with pytest.raises(ValueError, match="Protocol has no setting 'junks'; did you mean 'junk'"):
        Protocol.from_dict({"junks": [-1]})
    with pytest.raises(ValueError, match="Reranking has no setting 'k3'"):
        Protocol.from_dict({"reranking": {"k3": 1}})
