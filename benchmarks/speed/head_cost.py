"""The cost of the heads: the whole network over its trunk with average pooling, in turns in one run.

    python -m benchmarks.speed.head_cost
    python -m benchmarks.speed.head_cost --models stmga_resnet18_c4 --batch 1 --json out.json

Both sides see the same clips in eval mode, fp32, eager. A round times each side once; the table shows the medians over
the rounds and the median of the rounds' ratios with its quartiles. GMAC are multiply-accumulates of one clip.
"""

import argparse
import json
from collections.abc import Iterator

import torch

import stmga
from benchmarks.rows import Row, spread_of
from benchmarks.turns import in_turns, where
from stmga.utils.cost import gmac, parameters


def trunk_alone(model: stmga.STMGA, clips: torch.Tensor) -> torch.Tensor:
    """(b t 3 h w) -> (b c): the trunk and average pooling, the baseline of the paper without its neck."""
    return model.forward_map(clips).mean((1, 3, 4))


def measure(name: str, batch: int, rounds: int, channels_last: bool, device: str) -> dict:
    torch.manual_seed(0)
    model = stmga.create_model(name).eval().to(device)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    h, w = model.config.size
    clips = torch.rand(batch, model.config.clip_length, 3, h, w, device=device)
    with torch.inference_mode():
        sides = {"trunk": lambda: trunk_alone(model, clips), "model": lambda: model(clips)}
        found = in_turns(sides, rounds, device=device, warm_up=1)
        cost = {side: gmac(run) / batch for side, run in sides.items()}
    trunk, whole = (found[side]["seconds"] for side in sides)
    return {
        "model": name,
        "batch": batch,
        "parameters_M": parameters(model) / 1e6,
        "trunk_gmac": cost["trunk"],
        "gmac": cost["model"],
        "trunk_ms": trunk * 1e3,
        "model_ms": whole * 1e3,
        "clips_per_s": batch / whole,
        "ratio": found["model"]["ratio"],
        "ratio_quartiles": found["model"]["ratio_quartiles"],
    }


def table_rows(found: dict) -> Iterator[Row]:
    """Rows for the suite's table, from this benchmark's JSON."""
    bars = {("stmga_resnet50", 1): 1.22, ("stmga_resnet50", 4): 1.18}
    bars |= {("stmga_resnet50_light", 1): 1.10, ("stmga_resnet50_light", 4): 1.08}
    for row in found["rows"]:
        case = row["model"], row["batch"]
        what = f"`{row['model']}` over its trunk, eager, b = {row['batch']}"
        yield Row(what, row["ratio"], spread_of(row["ratio_quartiles"]), bars.get(case))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=stmga.list_models())
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 4])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    title = f"{where(args.device)}, fp32 eager eval" + (", channels_last" if args.channels_last else "")
    print(f"{title}; {args.rounds} rounds, medians\n")
    print(f"{'model':<24}{'b':>3}{'M par.':>8}{'GMAC':>7}{'trunk ms':>10}{'model ms':>10}{'ratio':>7}  quartiles")
    rows = []
    for name in args.models:
        for batch in args.batch:
            r = measure(name, batch, args.rounds, args.channels_last, args.device)
            rows.append(r)
            print(
                f"{name:<24}{batch:>3}{r['parameters_M']:>8.1f}{r['gmac']:>7.1f}{r['trunk_ms']:>10.0f}"
                f"{r['model_ms']:>10.0f}{r['ratio']:>7.3f}  " + "-".join(f"{q:.3f}" for q in r["ratio_quartiles"]),
                flush=True,
            )
    if args.json:
        with open(args.json, "w") as file:
            json.dump({"where": title, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
