"""The record of adapted weights: their origin, the site, and what their similarities mean there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings
from stmga.hub.records import WeightRecord
from stmga.metrics.calibrate import calibrate
from stmga.model import STMGA
from stmga.train.adaptation.labels import Labels
from stmga.train.adaptation.site import Site, View
from stmga.train.result import derived_record, row_of
from stmga.utils.text import counted

logger = logging.getLogger(__name__)


def adapted_record(
    model: STMGA, site: Site, name: str, labels: Labels, view: View, stage: Mapping[str, Any], started_from: str
) -> WeightRecord:
    """The record of weights that were adapted to ``site``; licence, terms, data and stages of the parent carry over.

    Args:
        model: the adapted network, with the record of the weights it started from.
        site, name: the tracklets, and what they are called.
        labels, view: of the adapted network.
        stage: what was done, such as ``{"rounds": "3 of 60 steps"}``.
        started_from: what the first weights are called.
    """
    parent = model.record
    start = (parent and (parent.name or parent.repo_id)) or started_from or "weights without a name"
    data = {"name": f"{name}, without labels", "tracklets": len(site), "persons": f"{len(labels.sizes)} found"}
    row = {**row_of(model.config, data), **stage, "started from": start}
    adapted = f"{name}: {counted(len(site), 'tracklet')}, adapted without labels"
    found = derived_record(model, row, adapted, start=start)
    return replace(found, calibration=calibration_for(model, site, labels, view))


def calibration_for(model: STMGA, site: Site, labels: Labels, view: View) -> Calibration | None:
    """What similarities of the adapted weights mean, or None if the site cannot tell.

    From pairs that were seen at the same time, where there are enough. Else from the pseudo-labels: linking put similar
    tracklets together, so these true-match rates are too high, and identities that it split raise the thresholds. Both
    are of people whom the weights were trained on: new people are less well told apart, and need higher thresholds.
    """
    found = site.calibration(view)
    if found is None:
        items = [item | {"person": one} for item, one in zip(view.whole.items, labels.identity, strict=True)]
        try:
            found = calibrate(Embeddings(view.whole.vectors, items, view.whole.digest))
        except ValueError as error:
            logger.warning("the adapted weights have no calibration: %s", error)
            return None
        found = replace(found, data=f"this site, on {len(labels.sizes):,} identities that linking found, not on labels")
    return replace(found, digest=model.digest())
