"""What the pages say about a result: what it was made from, what its verdicts mean, what was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from stmga.calibration import Calibration
from stmga.embedding.embeddings import Embeddings
from stmga.people.identities import Identities
from stmga.utils.foreign import escaped
from stmga.utils.text import counted

if TYPE_CHECKING:
    from stmga.report.picture_folder import PictureFolder

NAMED = 20  # of the tracklets that were left out; the rest are counted
NO_CALIBRATION = (
    "Not given: these embeddings have no calibration, so no similarity says that two tracklets are one person."
)
TIMES = {
    "clock": "One line per camera, by the clock, in UTC.",
    "seconds": "One line per camera, in minutes and seconds from the beginning.",
    "frames": "One line per video, in frames from its beginning. Clocks are not known, so lines cannot be compared.",
    "": "None: neither times nor frame numbers of these tracklets are known.",
}


def weights_of(embeddings: Embeddings) -> str:
    """The weights by name and digest."""
    return f"{escaped(embeddings.model) or 'unnamed weights'} ({embeddings.digest[:12] or 'no digest'})"


def facts_of(identities: Identities, embeddings: Embeddings, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of a name and a value."""
    cameras = counted(len(data["cameras"]), "camera") if data["cameras"] else "unknown cameras"
    yield "Tracklets", f"{len(embeddings):,} of {cameras}"
    yield "Weights", weights_of(embeddings)
    yield "Joined from", f"a score of {identities.threshold:.3f}: cosine, plus the share of neighbours that both have"
    rate = identities.false_match_rate
    yield "False-match rate", "unknown: the threshold was given" if rate is None else f"{rate:g}, {one_in(rate)}"
    yield from calibration_facts(embeddings.calibration)


def calibration_facts(calibration: Calibration | None) -> Iterator[tuple[str, str]]:
    """What the verdicts come from."""
    if calibration is None:
        yield "Calibration", "none"
        return
    where = f", on {escaped(calibration.data)}" if calibration.data else ""
    yield (
        "Calibration",
        f"{calibration.persons:,} persons, {calibration.impostor_pairs:,} pairs of different persons{where}",
    )


def one_in(rate: float) -> str:
    """A rate in plain words.

    >>> one_in(0.001)
    'about one of 1,000 pairs of different persons'
    """
    return f"about one of {round(1 / rate):,} pairs of different persons"


def meaning_of(identities: Identities, embeddings: Embeddings, data: Mapping[str, Any]) -> dict[str, str]:
    """What the verdicts and the time line mean."""
    times = TIMES[data["times"]]
    calibration = embeddings.calibration
    if calibration is None:
        unsure = (
            "The tracklet fits another identity better than its own. No other doubt can be named without a calibration."
        )
        return {"same": NO_CALIBRATION, "unsure": unsure, "times": times}
    return verdicts(calibration, identities.false_match_rate, ", or as close to another identity") | {"times": times}


def verdicts(calibration: Calibration, rate: float | None = None, other: str = "") -> dict[str, str]:
    """What "same" and "unsure" mean by a calibration; ``other`` is what else is unsure."""
    point = calibration.threshold(rate)
    return {
        "same": f"Similarity of {point.similarity:.3f} or more. Where this was measured, "
        f"{one_in(point.false_match_rate)} reached it, and {point.true_match_rate:.0%} of the pairs of one person. "
        "Other cameras have other rates.",
        "unsure": f"Less similar than that{other}. Look at the pictures before you rely on it.",
    }


def left_out(
    identities: Identities, embeddings: Embeddings, data: Mapping[str, Any], shown: PictureFolder | None
) -> Iterator[str]:
    """A line for each kind of thing that the page lacks."""
    yield from skipped(embeddings.skipped)
    if identities.without_times:
        yield (
            f"{counted(identities.without_times, 'tracklet')} without times: nothing kept those of one camera apart "
            "that overlap in time."
        )
    without = sum(row[-3] < 0 for row in data["tracklets"])
    if data["times"] and without:
        yield f"{counted(without, 'tracklet')} without times: not on the time line."
    yield from pictures_left_out(shown)


def skipped(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The tracklets that could not be embedded."""
    for row in rows[:NAMED]:
        yield f"Not embedded: {escaped(str(row.get('tracklet')), 80)}: {escaped(str(row.get('reason')), 200)}"
    if len(rows) > NAMED:
        yield f"Not embedded: {len(rows) - NAMED:,} more tracklets."


def pictures_left_out(shown: PictureFolder | None) -> Iterator[str]:
    """The tracklets without a picture."""
    if shown is None:
        yield "This page has no pictures, as asked."
    elif shown.failed:
        name, reason = next(iter(shown.failed.items()))
        yield (
            f"Pictures of {counted(len(shown.failed), 'tracklet')} could not be made. "
            f"First: {escaped(name, 80)}: {escaped(reason, 200)}"
        )
