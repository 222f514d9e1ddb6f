"""Average a network with the one that it was trained from; the record of the result says so.

    python -m benchmarks.tools.average_weights stmga_resnet18_c4 runs/mine/last --share 0.5 -o runs/average

--share is that of the start: 0.5 takes half of each. The second network must have been trained from the first, or the
average would be of no use; its record shows it. `benchmarks.tools.release_weights` makes a published weight of OUT.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from stmga import STMGA
from stmga.cli.options import trained
from stmga.train.adaptation.blend import blended


def average(start: STMGA, network: STMGA, share: float) -> STMGA:
    """``share`` of ``start`` and the rest of ``network``, with a record; ValueError if it was not trained from it.

    Both need a record, as every loaded network has.
    """
    before, after = (model.record for model in (start, network))
    assert before is not None
    assert after is not None
    if not before.stages or after.stages[: len(before.stages)] != before.stages or start.digest() == network.digest():
        raise ValueError("the second network was not trained from the first: its stages do not begin with those of it")
    first, last = len(before.stages), len(after.stages)
    row = {key: after.stages[-1][key] for key in ("network", "input")}
    row["started from"] = (
        f"no training: {1 - share:g} x the weights of stage {last} + {share:g} x those of stage {first}"
    )
    found = blended(network, start, 1 - share)  # takes the input of the network, as its record says
    found.record = replace(after, stages=(*after.stages, row), metrics=(), frames=(), calibration=None)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", help="the network before training: a name or a folder")
    parser.add_argument("network", help="the network after training: a run's last/")
    parser.add_argument("--share", type=float, required=True, help="of the start, more than 0 and less than 1")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder of the result")
    args = parser.parse_args()
    if not 0 < args.share < 1:
        parser.error(f"--share must be more than 0 and less than 1, got {args.share}")
    found = average(trained(args.start)[0], trained(args.network)[0], args.share)
    found.save_pretrained(args.out, record=found.record)
    print(f"wrote {args.out}: {found.record.stages[-1]['started from']}")  # type: ignore[union-attr]


if __name__ == "__main__":
    main()
