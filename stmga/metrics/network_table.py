"""Networks on data sets as one table: what each scores, and what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from stmga.embedding.cost import Cost, Speed, cost_of, speeds_of
from stmga.embedding.embedder import TrackletEmbedder
from stmga.embedding.embeddings import Embeddings
from stmga.embedding.network import TrackletNetwork, frames_at_once
from stmga.embedding.views import VIEWS
from stmga.metrics.cost_picture import Point, cost_picture
from stmga.metrics.evaluation import Evaluation, evaluate
from stmga.metrics.protocol import Protocol
from stmga.utils.cpu import processor
from stmga.utils.distributed import World, all_gather_objects
from stmga.utils.drawing import Drawing
from stmga.utils.text import preview, text_table

if TYPE_CHECKING:
    from stmga.data.benchmark import Benchmark

FRAMES = 8  # that the table shows costs of: clips differ in length
SPEED_OPTIONS = ("precision", "compile")  # of an embedder, which a measurement of speed has too


@dataclass(frozen=True)
class NetworkRow:
    """A network on a data set.

    Attributes:
        network, data: their names.
        clip: (frames, height, width) of a clip; None where the network does not say its size.
        evaluation: the scores, with their protocol.
        cost: parameters, GMAC of a clip, MB; the same on every data set.
        speed: clips a second; None if it was not measured.
    """

    network: str
    data: str
    clip: tuple[int, ...] | None
    evaluation: Evaluation
    cost: Cost
    speed: Speed | None

    @property
    def clips(self) -> float:
        """How many clips have 8 frames."""
        return FRAMES / self.clip[0] if self.clip else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: those of the evaluation, and the cost."""
        measured = (
            {"clips_per_s": self.speed.clips_per_s, "quartiles": list(self.speed.quartiles)} if self.speed else {}
        )
        names = {"network": self.network, "data": self.data, "clip": list(self.clip) if self.clip else None}
        return names | asdict(self.cost) | measured | self.evaluation.to_dict()


@dataclass(frozen=True)
class NetworkTable:
    """The result of :func:`evaluate_networks`: a row for each network on each data set, network by network.

    Attributes:
        measured: where clips a second were measured; empty if they were not.
    """

    rows: tuple[NetworkRow, ...]
    measured: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"rows": [row.to_dict() for row in self.rows], "measured": dict(self.measured)}

    def __str__(self) -> str:
        """A line for each network: its scores on each data set in %, then its cost, both for 8 frames."""
        sets = list(dict.fromkeys(row.data for row in self.rows))
        scores = [name for data in sets for name in (f"{data}: mAP" if len(sets) > 1 else "mAP", "rank-1")]
        speed = ["clips/s"] if self.measured else []
        lines = []
        for network in dict.fromkeys(row.network for row in self.rows):
            own = [row for row in self.rows if row.network == network]
            cells = [f"{x:.2%}" for row in own for x in (row.evaluation.mAP, row.evaluation.rank(1))]
            lines.append([network, *cells, *_cost_cells(own[0], bool(self.measured))])
        table = text_table(["network", *scores, "clip", "M par.", "GMAC", *speed, "MB"], lines)
        views = [view for view in VIEWS if any(getattr(row.evaluation.protocol, view) for row in self.rows)]
        costs = f"GMAC{' and clips/s' if speed else ''}"
        note = f"The scores average views ({', '.join(views)}); {costs} are of one view." if views else ""
        measured = describe_measured(self.measured) if self.measured else ""
        return "\n".join(filter(None, (table, note, measured)))

    def picture(self, *, note: str = "") -> Drawing:
        """mAP against GMAC of a clip, a panel for each data set. ``picture().encode(".png")`` are the bytes of a file.

        Raises:
            ValueError: the GMAC of no network are known. Networks without are named below the picture.
        """
        unknown = list(dict.fromkeys(row.network for row in self.rows if not row.cost.gmac))
        panels: dict[str, list[Point]] = {}
        for row in self.rows:
            if row.cost.gmac:
                point = Point(row.network, row.cost.gmac * row.clips, 100 * row.evaluation.mAP)
                panels.setdefault(row.data, []).append(point)
        if not panels:
            raise ValueError(f"the GMAC of no network are known: {preview(unknown)}; there is nothing to draw")
        absent = f"not drawn, because their GMAC are unknown: {preview(unknown)}" if unknown else ""
        return cost_picture(panels, note="; ".join(filter(None, (note, absent))))


def evaluate_networks(
    networks: Mapping[str, TrackletNetwork],
    benchmarks: Sequence[Benchmark],
    *,
    speed: bool = True,
    world: World | None = None,
    device: str | torch.device | None = None,
    **options: Any,
) -> NetworkTable:
    """Score every network on the test of every benchmark, each by the benchmark's own protocol, and take their cost.

    Clips a second are measured after that, in turns (:func:`stmga.embedding.cost.speeds_of`), in the main process.

    Args:
        networks: by the name that the table shows; each computes where it is.
        benchmarks: of different names, such as :func:`stmga.data.load_benchmark` reads.
        speed: False leaves out the measurement of clips a second.
        world: the processes that share the embedding.
        device: where similarities are computed; by default the CPU.
        options: those of :class:`stmga.TrackletEmbedder`, but ``sampling`` and the views, which a protocol has.

    Raises:
        ValueError: nothing to compare, two benchmarks of one name, a benchmark without a protocol or a test.
        NoMatchError: no query has a match.
    """
    check_benchmarks(benchmarks)
    if not networks:
        raise ValueError("there is no network to evaluate; give a mapping of names to networks")
    world = world or World()
    found: dict[tuple[str, str], Evaluation] = {}
    for name, network in networks.items():
        for benchmark in benchmarks:
            queries, gallery = embed_test(network, benchmark, world, **options)
            result = evaluate(queries, gallery, benchmark.protocol, device=device)
            found[name, benchmark.name] = replace(result, model=result.model or name)
    costs = {name: cost_of(network) for name, network in networks.items()}
    speeds: dict[str, Speed] = {}
    if speed and world.is_main:
        how = {key: options[key] for key in SPEED_OPTIONS if key in options}
        speeds = speeds_of(networks, batch=options.get("batch_size"), **how)
    rows = tuple(
        NetworkRow(name, data, _clip_of(networks[name]), evaluation, costs[name], speeds.get(name))
        for (name, data), evaluation in found.items()
    )
    return NetworkTable(rows, _measured(networks, options) if speeds else {})


def embed_test(
    model: TrackletNetwork, benchmark: Benchmark, world: World, **options: Any
) -> tuple[Embeddings, Embeddings]:
    """Embed queries and gallery, each process its share; every process gets all embeddings.

    ``options`` are those of :class:`stmga.TrackletEmbedder`. The protocol determines clips and views.
    """
    every = [*benchmark.query, *benchmark.gallery]
    protocol = benchmark.protocol
    views = {view: bool(getattr(protocol, view)) for view in VIEWS}
    embedder = TrackletEmbedder(model, sampling=protocol.clips, **views, **options)  # type: ignore[arg-type]
    share = embedder(every[world.rank :: world.size]) if every[world.rank :: world.size] else None
    vectors, rows = [None] * len(every), [None] * len(every)
    parts = all_gather_objects(share)
    for rank, part in enumerate(parts):
        if part is not None:
            for i, (vector, item) in enumerate(zip(part.vectors, part.items, strict=True)):
                vectors[rank + i * world.size], rows[rank + i * world.size] = vector, item
    # The main process has the first tracklet and so the digest, which takes a pass over all weights.
    found = Embeddings(torch.stack(vectors), rows, parts[0].digest, parts[0].model)  # type: ignore[arg-type]
    count = len(benchmark.query)
    return found.select(range(count)), found.select(range(count, len(every)))


def check_benchmarks(benchmarks: Sequence[Benchmark]) -> None:
    """Raise ValueError unless each has a protocol and a test, and a name of its own."""
    if not benchmarks:
        raise ValueError("there is no data set to evaluate on; give benchmarks, such as load_benchmark(PATH)")
    for benchmark in benchmarks:
        protocol = getattr(benchmark, "protocol", None)
        if not isinstance(protocol, Protocol):
            name = getattr(benchmark, "name", None) or type(benchmark).__name__
            raise ValueError(
                f"{name} has no protocol, so its scores would mean nothing: a table needs a stmga.data.Benchmark with "
                f"a stmga.metrics.Protocol, got {type(protocol).__name__}"
            )
        if not benchmark.query or not (benchmark.gallery or protocol.queries_in_gallery):
            raise ValueError(
                f"{benchmark.name} has no test: {len(benchmark.query)} queries, {len(benchmark.gallery)} gallery "
                "tracklets; give its tracklets the roles query and gallery, or set persons aside with holdout="
            )
    names = [benchmark.name for benchmark in benchmarks]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two data sets are called {preview(sorted(twice))}; rename one, so that the rows differ")


def describe_measured(measured: Mapping[str, Any]) -> str:
    """Where and how clips a second were measured, in one line."""
    m = measured
    return (
        f"GMAC and clips/s are of {FRAMES} frames. "
        f"clips/s: medians, in turns; batches of {m['batch']}, {m['precision']}, on {m['device']} of "
        f"{m['processor']}, {m['threads']} threads, torch {m['torch']}; no reading of images"
    )


def _measured(networks: Mapping[str, TrackletNetwork], options: Mapping[str, Any]) -> dict[str, Any]:
    devices = sorted({str(network.device) for network in networks.values()})
    cuda = next((name for name in devices if name.startswith("cuda")), None)
    frames = ", ".join(str(n) for n in sorted({frames_at_once(network.device) for network in networks.values()}))
    clips = options.get("batch_size")
    return {
        "batch": f"{clips} clips" if clips else f"{frames} frames",
        "precision": options.get("precision", "fp32") + (", compiled" if options.get("compile") else ""),
        "device": ", ".join(devices),
        "processor": torch.cuda.get_device_name(cuda) if cuda else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _clip_of(network: TrackletNetwork) -> tuple[int, ...] | None:
    size = getattr(network.transform, "size", None)
    return None if size is None else (network.clip_length, *size)


def _cost_cells(row: NetworkRow, speed: bool) -> list[Any]:
    cost = row.cost
    rounded = lambda value: None if value is None else round(value, 1 if value >= 1 else 3)  # noqa: E731
    return [
        " x ".join(map(str, row.clip)) if row.clip else None,
        rounded(None if cost.parameters is None else cost.parameters / 1e6),
        rounded(None if cost.gmac is None else cost.gmac * row.clips),
        *([rounded(row.speed.clips_per_s / row.clips) if row.speed else None] if speed else []),
        rounded(cost.mb),
    ]
