"""Adapt a network to a site: embed, link, train on what was linked, again and again; keep the best mean of rounds."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stmga._version import __version__
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.unit import NonFiniteVectorError
from stmga.model import STMGA
from stmga.tracklets.inputs import InputRecord
from stmga.tracklets.tracklet import Tracklet
from stmga.train.adaptation.blend import averaged, blended
from stmga.train.adaptation.config import AdaptConfig
from stmga.train.adaptation.folder import CLAIM, AdaptFolder
from stmga.train.adaptation.labels import Labels, carried, linked, own_calibration, quiet_linking
from stmga.train.adaptation.norms import with_norms_of
from stmga.train.adaptation.record import adapted_record
from stmga.train.adaptation.rounds import Memory, train_round
from stmga.train.adaptation.score import pair_f1, score_of
from stmga.train.adaptation.site import Site, View
from stmga.train.engine import training_process
from stmga.train.errors import NotFiniteError
from stmga.train.network import with_input
from stmga.train.run_folder import tracklets_digest
from stmga.train.trainer import RunOptions
from stmga.train.whitening import PERSONS, row_of_whitening, whitening_of, with_whitening
from stmga.utils.distributed import World

Row = dict[str, Any]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Adapted:
    """A finished adaptation.

    Attributes:
        folder: of the adaptation; the weights that were kept are in ``folder / "best"``.
        rounds: one row per round. Row 0 is of the weights it started from.
        best: the round whose weights were kept; 0 if none was better than the start.
        stopped: why it ended before the last round; "" if it did not.
    """

    folder: Path
    rounds: list[Row]
    best: int
    stopped: str = ""

    @property
    def weights(self) -> Path:
        """The folder of the weights that were kept."""
        return self.folder / "best"

    def __repr__(self) -> str:
        return f"Adapted({str(self.folder)!r}, {len(self.rounds) - 1} rounds, best {self.best})"


def adapt(
    model: STMGA,
    tracklets: Sequence[Tracklet],
    folder: str | Path,
    config: AdaptConfig | None = None,
    *,
    name: str = "site",
    started_from: str = "",
    device: str | None = None,
    workers: int = 0,
    keep_frames: bool = False,
    progress: bool = False,
    trust_content: bool = False,
    watch: Callable[[Row], None] | None = None,
) -> Adapted:
    """Adapt a trained network to the cameras of a site, without a label.

    A round embeds all tracklets once and groups them by :func:`stmga.link`, which keeps apart whom one camera saw at
    the same time. Confident members become labels, and the starting weights are trained on them for a few steps. The
    network after a round is the mean of all trainings so far (:func:`stmga.train.adaptation.blend.averaged`). It labels
    the next round, and is scored without labels (:class:`stmga.train.adaptation.score.Score`). That of the best round
    is kept, mixed with the start (``config.start_share``); or the start alone, if no round is better.

    Frames of videos are decoded once and kept in memory, ``config.frames`` of each tracklet.

    Thresholds come from pairs seen at the same time where there are 1,000 or more. Otherwise they are those of the
    calibration of the weights, moved along with the similarities from round to round.

    A folder of the same adaptation is resumed, and gives the same weights as without a stop. SIGINT and SIGTERM during
    training write a checkpoint and raise ``StoppedError``.

    Args:
        model: a trained network, left as it is. The weights that are kept have clips of as many frames.
        tracklets: of all cameras, at least 50. Their persons, if known, are not used. ``camera`` and times help.
        folder: new, empty, or that of the same adaptation.
        config: the settings that the result depends on.
        name: of the site, for the record. started_from: what the first weights are called.
        device, workers, keep_frames, progress, trust_content: as in :func:`stmga.train.train`.
        watch: called with the row of every round, when it is known.

    Raises:
        ValueError: fewer than 50 tracklets, or neither a calibration nor enough pairs seen at the same time.
        TrainingError: the folder is of other tracklets, weights or settings, or is damaged.
        StoppedError: a signal came while it trained.
        TrackletError: a frame cannot be read.
    """
    config = config or AdaptConfig()
    site = Site(tracklets, frames=config.frames, times=config.times)
    own = None if site.can_calibrate else own_calibration(model, config.false_match_rate)
    with training_process(device) as world:
        if world.size > 1:
            raise ValueError("adapt runs in one process; start it without torchrun")
        start = copy.deepcopy(model).to(world.device).eval()
        start.record = model.record
        spec = {
            "stmga": __version__, "weights": model.digest(), "started_from": started_from, "name": name,
            "tracklets": tracklets_digest(site.tracklets), "config": config.to_dict(),
            "calibration": own and own.to_dict()["thresholds"],
        }  # fmt: skip
        options = RunOptions(workers=workers, keep_frames=keep_frames, progress=progress, trust_content=trust_content)
        with CLAIM.hold(folder, spec, InputRecord(site.tracklets, contents=trust_content)):
            run = _Adaptation(start, site, AdaptFolder(Path(folder)), config, name, started_from, world, options)
            return run.finish(model, run.rounds(watch or (lambda row: None)))


class _Adaptation:
    """The rounds of one adaptation; see :func:`adapt`."""

    def __init__(
        self, start: STMGA, site: Site, folder: AdaptFolder, config: AdaptConfig, name: str, started_from: str,
        world: World, options: RunOptions,
    ) -> None:  # fmt: skip
        self.start, self.site, self.folder, self.config, self.world = start, site, folder, config, world
        self.name, self.started_from, self.options = name, started_from, options

    def rounds(self, watch: Callable[[Row], None]) -> list[Row]:
        """All rounds; those that are finished already are not computed again."""
        rows = self.folder.rows()
        for row in rows:
            watch(row)
        if not self.folder.finished:
            self.site.read_videos()
        while not (rows and _ended(rows, self.config)):
            row = self._round(len(rows))
            rows.append(row)
            self.folder.append(rows)
            watch(row)
        return rows

    def _round(self, number: int) -> Row:
        """Train, except before the first; then embed, link and score."""
        begun = time.perf_counter()
        try:
            model = self._trained(number) if number else self._weights(0)
            trained = time.perf_counter()
            view = self.site.view(self._embedder(model))
        except (NotFiniteError, NonFiniteVectorError) as error:
            return {"round": number, "stopped": f"round {number} diverged, and its weights are not used: {error}"}
        seen = time.perf_counter()
        with quiet_linking():
            row, labels = self._linked(number, view)
        self.folder.save(number, view, labels)
        seconds = {"train": trained - begun, "embed": seen - trained, "link": time.perf_counter() - seen}
        return row | {"seconds": {what: round(value, 1) for what, value in seconds.items()}}

    def _embedder(self, model: STMGA) -> TrackletEmbedder:
        options = self.options
        precision = self.config.precision
        return TrackletEmbedder(model, precision=precision, workers=options.workers, progress=options.progress)  # type: ignore[arg-type]

    def _linked(self, number: int, view: View) -> tuple[Row, Labels]:
        """The labels of a view, and what is said of them."""
        rate = self.config.false_match_rate
        before = self.folder.load(number - 1, len(self.site)) if number else None
        calibration = self.site.calibration(view)
        if calibration is None and before is not None:
            calibration = carried(before[1], before[0].whole, view.whole)
        if calibration is None:
            calibration = own_calibration(self.start, rate)
        people = linked(view.whole, calibration, rate)
        labels = Labels.of(people, calibration)
        score = score_of(view, people, calibration, self.site.together, rate)
        rows = labels.trained(self.config.keep, singles=self.config.singles)
        row: Row = {
            "round": number, "identities": len(people), "alone": people.alone, "trained_on": len(rows),
            "threshold": round(people.threshold, 4), "score": round(score.total, 4), **_rounded(asdict(score)),
        }  # fmt: skip
        if before is not None:  # how much the labels have settled
            cameras = [item.get("camera") for item in self.site.items]
            row["same_as_before"] = round(pair_f1(before[1].identity, labels.identity, cameras), 4)
        if fault := labels.fault(rows):
            row["stopped"] = fault
        return row, labels

    def _trained(self, number: int) -> STMGA:
        """The network after its ``number``-th training, which may have been interrupted.

        Each training begins with the weights of the start, and has better labels than the one before.
        """
        run, model = self.folder.run(number), self._weights(0)
        if self.config.only_norms:
            with_norms_of(model, self.site.trained, stride=1, seed=self.config.seed).save_pretrained(run / "last")
            return self._weights(number)
        view, labels = self.folder.load(number - 1, len(self.site))
        rows = labels.trained(self.config.keep, singles=self.config.singles)
        memory = Memory.of(view.whole.vectors[rows], [labels.identity[row] for row in rows])
        train_round(
            model, labels.relabelled(self.site.trained, rows), self.config.training(number, len(memory.vectors)), run,
            self.world, name=f"{self.name}, identities found in round {number}", started_from=self.started_from,
            memory=memory, options=self.options,
        )  # fmt: skip
        return self._weights(number)

    def _weights(self, number: int) -> STMGA:
        """The mean of the first trainings, in short clips; of none, the start."""
        length = None if self.config.only_norms else self.config.clip_length
        found = averaged(self.start, self.folder.networks(number, device=self.world.device))
        return with_input(found, clip_length=length)

    def finish(self, model: STMGA, rows: list[Row]) -> Adapted:
        """Write the weights of the best round, unless they are written already."""
        best = best_of(rows)
        if not self.folder.finished:
            if best:
                self._keep(best)
            else:
                model.save_pretrained(self.folder.best)
        return Adapted(self.folder.path, rows, best, rows[-1].get("stopped", ""))

    def _keep(self, number: int) -> None:
        """Mix the weights of a round with the start, whiten them, and write them with their record.

        Training takes short clips because more identities fit into a batch. The kept weights take those of the start.
        """
        share = self.config.kept_of_start
        adapted = blended(self.start, self._weights(number), share)
        view = self.site.view_of_whole(self._embedder(adapted))
        _, labels = self.folder.load(number, len(self.site))
        what = "batch norms only" if self.config.only_norms else f"mean of {number} of {self.config.steps} steps"
        if share:
            what += f", then {share:.0%} of the start"
        stage = {"rounds": what, "seed": self.config.seed}
        if self.config.whitening and not self.config.only_norms:
            if labels.several >= PERSONS:
                adapted, view = self._whitened(adapted, view, labels)
                stage |= row_of_whitening(self.config.whitening)
            else:
                logger.warning(
                    "no whitening: %d identities have two tracklets, and %d are needed", labels.several, PERSONS
                )
        record = adapted_record(adapted, self.site, self.name, labels, view, stage, self.started_from)
        adapted.save_pretrained(self.folder.best, record=record)

    def _whitened(self, model: STMGA, view: View, labels: Labels) -> tuple[STMGA, View]:
        """The network with a layer solved from the identities that it found, and what it sees then."""
        layer = whitening_of(view.whole.vectors, labels.identity, shrinkage=self.config.whitening)
        other = with_whitening(model, layer)
        return other, view.through(layer, other.digest())


def best_of(rows: Sequence[Mapping[str, Any]]) -> int:
    """The round with the highest score, the earliest of equal ones; rounds that diverged have none.

    >>> best_of([{"score": 0.4}, {"score": 0.5}, {"score": 0.5}, {"stopped": "diverged"}])
    1
    """
    return max(range(len(rows)), key=lambda number: (rows[number].get("score", -1.0), -number))


def _ended(rows: Sequence[Row], config: AdaptConfig) -> bool:
    """Whether there is nothing more to do."""
    last = len(rows) - 1
    if rows[last].get("stopped"):
        return True
    if last == (1 if config.only_norms else config.rounds):
        return True
    return last - best_of(rows) >= config.patience


def _rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    return {name: value if value is None else round(value, 4) for name, value in values.items()}
