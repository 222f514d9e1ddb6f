"""What tracklets of fewer frames than a clip cost: one, two and four frames over eight, in turns in one run.

    python -m benchmarks.speed.short_tracklets
    python -m benchmarks.speed.short_tracklets --model stmga_resnet18_c4.market_cuhk03 --batch 1 --json out.json

A short tracklet is one clip that loops over its frames. Three things are timed for each number of frames, each over its
own time for eight:

- network: the network on frames that are in memory, as `TrackletEmbedder` computes a batch of so many tracklets
- embedder: `TrackletEmbedder` on sixteen tracklets of uint8 crops in memory, which it also resizes
- trunk: the trunk alone on so many frames, the least that the network could cost

The network is the embedder's: folded, channels last, and on a CPU with packed weights. Without --model: every weight
that is shipped.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.turns import Side, in_turns, keep_or_refuse, where
from stmga import STMGA, Tracklet, TrackletEmbedder
from stmga.embedding.clip_dataset import ClipRows, clip_indices
from stmga.embedding.frame_features import FrameFeatures
from stmga.utils.files import atomic_write
from stmga.zoo import list_weights

FRAMES = (8, 4, 2, 1)
BARS = {1: 0.20, 4: 0.16}  # of one frame over eight, by tracklets a batch
TRACKLETS = 16  # of the embedder
OUT = Path(__file__).parents[1] / "results" / "short_tracklets.json"


def network_sides(embedder: TrackletEmbedder, batch: int) -> dict[str, Side]:
    """A batch of tracklets of each number of frames."""
    network, length = embedder._network(embedder.digest()), embedder.model.clip_length

    def side(frames: int) -> Side:
        rows = [ClipRows(i, clip_indices(frames, length)[0], list(range(frames))) for i in range(batch)]
        pixels = torch.rand(batch * frames, 3, *embedder.model.config.size)
        known = FrameFeatures([1] * batch, length)
        return lambda: network.forward_head(embedder._features([pixels], rows, {}, [known], network))

    return {str(frames): side(frames) for frames in FRAMES}


def trunk_sides(embedder: TrackletEmbedder, batch: int) -> dict[str, Side]:
    trunk = embedder._network(embedder.digest()).backbone

    def side(frames: int) -> Side:
        pixels = torch.rand(batch * frames, 3, *embedder.model.config.size)

        @torch.inference_mode()
        def run() -> Tensor:
            return trunk(pixels).mean((2, 3))

        return run

    return {str(frames): side(frames) for frames in FRAMES}


def embedder_sides(embedder: TrackletEmbedder) -> dict[str, Side]:
    height, width = (side // 2 for side in embedder.model.config.size)

    def side(frames: int) -> Side:
        shape = (TRACKLETS, frames, height, width, 3)
        pixels = torch.randint(256, shape, dtype=torch.uint8).numpy()
        tracklets = [Tracklet(str(i), clip) for i, clip in enumerate(pixels)]
        return lambda: embedder.embed(tracklets)

    return {str(frames): side(frames) for frames in FRAMES}


def measure(model: STMGA, batch: int, rounds: int) -> dict[str, dict]:
    """Seconds and ratios of each thing, by the number of frames."""
    embedder = TrackletEmbedder(model, batch_size=batch)
    with embedder.fixed_weights():
        return {
            "network": in_turns(network_sides(embedder, batch), rounds),
            "trunk": in_turns(trunk_sides(embedder, batch), rounds),
            "embedder": in_turns(embedder_sides(embedder), max(3, rounds // 4), warm_up=1),
        }


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    for row in found["rows"]:
        for thing in ("network", "embedder", "trunk"):
            one = row[thing]["1"]
            what = f"`{row['model']}`, {thing}, a tracklet of one frame over eight, b = {row['batch']}"
            bar = BARS.get(row["batch"]) if thing == "network" else None
            yield Row(what, one["ratio"], spread_of(one["ratio_quartiles"]), bar)


def show(row: dict) -> str:
    lines = []
    for thing in ("network", "embedder", "trunk"):
        figures = "".join(
            f"{side['ratio']:>8.3f} ({'-'.join(f'{q:.3f}' for q in side['ratio_quartiles'])})"
            for frames, side in row[thing].items()
            if frames != "8"
        )
        milliseconds = 1e3 * row[thing]["8"]["seconds"]
        lines.append(f"{row['model']:<44}{row['batch']:>2}  {thing:<9}{milliseconds:>9.1f} ms{figures}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=list_weights(), help="names of weights")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4], help="tracklets a batch")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--kept", action="store_true", help="keep freed memory, as the command `stmga` does")
    parser.add_argument("--json", type=Path, default=OUT)
    args = parser.parse_args()
    keep_or_refuse(parser, args.kept)
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    print(f"{where()}\nratios of 4, 2 and 1 frames over 8, medians and quartiles of {args.rounds} rounds\n")
    settings = {name: value for name, value in vars(args).items() if name != "json"}
    result: dict = {"where": where(), "settings": settings, "rows": []}
    for name in args.model:
        model = stmga.create_model(name, pretrained=True).eval()
        for batch in args.batch:
            result["rows"].append({"model": name, "batch": batch, **measure(model, batch, args.rounds)})
            print(show(result["rows"][-1]), flush=True)
            atomic_write(args.json, (json.dumps(result, indent=1) + "\n").encode())  # what is measured is kept


if __name__ == "__main__":
    main()
