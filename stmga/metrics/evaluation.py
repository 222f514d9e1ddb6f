"""Embeddings and a protocol -> scores, with counts of what took part and what did not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from stmga._version import __version__
from stmga.embedding.embeddings import Embeddings, check_rows
from stmga.embedding.vectors import Vectors
from stmga.embedding.views import VIEWS, made_with
from stmga.metrics.matching import NOBODY, REASONS, MatchRules, rules_of_items
from stmga.metrics.protocol import Protocol
from stmga.metrics.ranking import NoMatchError, RankScores, score_blocks
from stmga.metrics.reranking import rerank
from stmga.metrics.similarity import similarity_blocks
from stmga.metrics.single_shot import single_shot_scores
from stmga.utils.isolation import isolated
from stmga.utils.text import preview

RANKS = (1, 5, 10, 20)
WORDS = {
    "no_person": "have no person, or a distractor's",
    "absent": "have no other tracklet of their person in the gallery",
    "own_camera": "have their person only in their own camera",
    "unknown_camera": "have their person only in an unknown camera (or their own)",
}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Scores with the protocol that made them and what was counted.

    Attributes:
        scores: mAP, CMC, mINP over the counted queries.
        protocol: the rules.
        queries: how many there were, without junk.
        gallery: its tracklets without junk, and with the queries where the protocol says so.
        junk: tracklets and queries that were dropped.
        distractors: how many of ``gallery`` are nobody's match.
        uncounted: ids of the queries that do not count, by reason: ``no_person`` (or a distractor's), ``absent`` (no
            other tracklet of the person in the gallery), ``own_camera`` (only in the query's own camera),
            ``unknown_camera`` (only in one that may be the query's).
        model, digest: of the weights.
    """

    scores: RankScores
    protocol: Protocol
    queries: int
    gallery: int
    junk: int
    distractors: int
    uncounted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    model: str = ""
    digest: str = ""

    @property
    def mAP(self) -> float:  # noqa: N802 - its name everywhere
        """Mean average precision, 0..1."""
        return self.scores.mAP

    @property
    def mINP(self) -> float:  # noqa: N802
        """Mean inverse negative penalty, 0..1."""
        return self.scores.mINP

    def rank(self, k: int) -> float:
        """Rank-k, 0..1."""
        return self.scores.rank(k)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: scores as fractions, counts, the protocol, the weights, the version of stmga."""
        return {
            "mAP": self.mAP,
            "mINP": self.mINP,
            **{f"rank-{k}": self.rank(k) for k in RANKS},
            "cmc": list(self.scores.cmc[:50]),
            "queries": self.queries,
            "counted": self.scores.queries,
            "uncounted": {reason: len(ids) for reason, ids in self.uncounted.items()},
            "gallery": self.gallery,
            "junk": self.junk,
            "distractors": self.distractors,
            "matches": self.scores.matches,
            "protocol": self.protocol.to_dict(),
            "rules": self.protocol.describe(),
            "model": self.model,
            "digest": self.digest,
            "stmga": __version__,
        }

    def __str__(self) -> str:
        ranks = "  ".join(f"rank-{k} {self.rank(k):.2%}" for k in RANKS)
        lines = [
            f"mAP {self.mAP:.2%}  {ranks}  mINP {self.mINP:.2%}",
            f"queries   {self.scores.queries:,} of {self.queries:,} count, {self.scores.matches:.1f} matches each",
            *(f"          {len(ids):,} {WORDS[reason]}: {preview(ids, 3)}" for reason, ids in self.uncounted.items()),
            f"gallery   {self.gallery:,} tracklets, with {self.distractors:,} distractors; {self.junk:,} junk dropped",
            f"protocol  {self.protocol.describe()}",
        ]
        return "\n".join(lines)


@isolated
def evaluate(
    queries: Embeddings,
    gallery: Embeddings,
    protocol: Protocol | None = None,
    *,
    device: str | torch.device | None = None,
    block: int | None = None,
) -> Evaluation:
    """Rank the gallery for every query and count by the protocol.

    Persons and cameras compare as text, so that a folder's ``"7"`` is a manifest's ``7``; so do the protocol's junk and
    distractors. Junk is dropped, among the queries too. A query never finds its own id. Where an item's camera is None,
    its ``camera_candidates`` (a list) may say which it can be: it is then unknown only against those. Where the queries
    or the gallery tracklets know no camera at all, unknown cameras remove nothing.

    Args:
        queries, gallery: of the same weights; the gallery tracklets in official order. With
            ``protocol.queries_in_gallery`` the queries follow after them and must not be among them.
        protocol: default ``Protocol()``. The result's has the ``flip`` and ``two_sizes`` of the embeddings.
        device: where similarities are computed, as ``"cuda"``; by default the CPU.
        block: queries ranked at once; by default as many as make 16 MB.

    Raises:
        NoMatchError: no query has a match that it may find; the message says why.
        ValueError: other weights, nothing to rank, queries that are in the gallery already, a protocol with ``flip``
            or ``two_sizes`` for embeddings without.

    >>> items = [{"tracklet": f"{who}{cam}", "person": who, "camera": cam} for who in "ab" for cam in (1, 2)]
    >>> found = Embeddings(torch.eye(4)[[0, 0, 1, 1]], items, digest="1f0c")
    >>> result = evaluate(found, found, Protocol(queries_in_gallery=False))
    >>> result.mAP, result.rank(1), result.queries, result.gallery
    (1.0, 1.0, 4, 4)
    """
    queries.require_same_weights(gallery, "the queries", "the gallery's vectors")
    for side in (queries, gallery):
        check_rows(Vectors(side.vectors), side.items)  # again: both can be changed after they were checked
    protocol = _with_views(protocol or Protocol(), queries, gallery)
    junk = {str(person) for person in protocol.junk}
    dropped = [str(person) in junk for person in queries.persons]
    junk_queries = sum(dropped)
    if junk_queries:
        queries = queries.select([not gone for gone in dropped])
    members = [*gallery.items, *(queries.items if protocol.queries_in_gallery else [])]
    gone = torch.tensor([str(item.get("person")) in junk for item in members], dtype=torch.bool, device="cpu")
    _check_entries(queries, gallery, protocol, kept=len(members) - int(gone.sum()))
    answers = rules_of_items(queries.items, members, protocol, tracklets=len(gallery))
    parts = [gallery.vectors, *([queries.vectors] if protocol.queries_in_gallery else [])]
    blocks = _blocks(queries.vectors, parts, gone, protocol, device, block)
    try:
        score = single_shot_scores if protocol.shots == "single" else score_blocks
        scores = score(blocks, answers, ap=protocol.ap)
    except NoMatchError as error:
        why = _reasons(answers, queries.ids, range(len(queries)))
        raise NoMatchError(f"{error}: {_explained(why)}") from None
    return Evaluation(
        scores=scores,
        protocol=protocol,
        queries=len(queries),
        gallery=len(members) - int(gone.sum()),
        junk=junk_queries + int(gone.sum()),
        distractors=int((answers.gallery.persons == NOBODY).sum()) - int(gone.sum()),
        uncounted=_reasons(answers, queries.ids, scores.unmatched),
        model=gallery.model or queries.model,
        digest=gallery.digest,
    )


def _blocks(
    queries: Tensor,
    parts: list[Tensor],
    gone: Tensor,
    protocol: Protocol,
    device: str | torch.device | None,
    block: int | None,
) -> Iterator[Tensor]:
    """Similarities ``(b, g)`` with NaN in the columns of junk, which removes it from every list."""
    if protocol.reranking is None:
        for rows in similarity_blocks(queries, parts, distance=protocol.distance, device=device, block=block):
            if gone.any():
                rows[:, gone.to(rows.device)] = torch.nan
            yield rows
        return
    r, kept = protocol.reranking, torch.cat(parts)[~gone]
    how: dict[str, Any] = dict(k1=r.k1, k2=r.k2, weight=r.weight, distance=protocol.distance)
    for distance in rerank(queries, kept, **how, device=device, block=block):
        rows = distance.new_full((len(distance), len(gone)), torch.nan)
        rows[:, ~gone] = -distance
        yield rows


def _reasons(answers: MatchRules, ids: list[str], unmatched: Iterable[int]) -> dict[str, tuple[str, ...]]:
    """Ids of the queries without a match, by reason."""
    found = [(answers.reason(i), ids[i]) for i in unmatched]
    return {why: tuple(name for reason, name in found if reason == why) for why in REASONS if why in dict(found)}


def _explained(why: dict[str, tuple[str, ...]]) -> str:
    """Why no query counts, and what to do if one camera saw everybody."""
    reasons = "; ".join(f"{len(ids):,} {WORDS[reason]}" for reason, ids in why.items())
    within = '; same_camera="keep" (--keep-same-camera) counts matches within a camera' if "own_camera" in why else ""
    return reasons + within


def _check_entries(queries: Embeddings, gallery: Embeddings, protocol: Protocol, kept: int) -> None:
    if not len(queries):
        raise ValueError("there are no queries to evaluate (after dropping junk)")
    if not kept:
        raise ValueError(f"the gallery is empty: {len(gallery)} tracklets, none left after dropping junk")
    both = set(queries.ids) & set(gallery.ids)
    if both and protocol.queries_in_gallery:
        raise ValueError(
            f"{len(both)} queries are in the gallery already ({preview(sorted(both))}), and queries_in_gallery would "
            "put them there twice; use queries_in_gallery=False (--no-queries-in-gallery), or a gallery without them"
        )


def _with_views(protocol: Protocol, queries: Embeddings, gallery: Embeddings) -> Protocol:
    """The protocol with the views of the embeddings: ``flip`` and ``two_sizes``."""
    items = [*queries.items, *gallery.items]
    views: dict[str, Any] = {}
    for view in VIEWS:
        wanted = getattr(protocol, view)
        views[view] = made_with(view, items) if items else wanted
        if wanted and not views[view]:
            made = "some of these embeddings were" if views[view] is None else "these embeddings were"
            option = f"{view}=True (--{view.replace('_', '-')})"
            raise ValueError(f"the protocol says {view}=True, but {made} made without: embed them with {option}")
    return replace(protocol, **views)
