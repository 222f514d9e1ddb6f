"""Where the parts of a network look: overlap of their maps, share of the background, the region of each part.

    python -m benchmarks.accuracy.part_maps stmga_resnet18_c4 --persons 40

On rendered walkers, whose pixels have labels (head, torso, legs, shoes, bag, occluder, background), with and without
occluders. `overlap` is the mean cosine between the attention maps of two of the finest parts of a frame (1: all the
same map); `background` the mean attention on the background over that on the person; `share` how much of a part's
attention falls on each region, where attention less its minimum in the frame is counted.
"""

import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F

import stmga
from stmga.data import Label, render_labelled


def attention_of(model: stmga.STMGA, frames: object) -> torch.Tensor:
    """(t n h w), the finest part attentions."""
    clip = stmga.ClipTransform.from_config(model.config)(frames)
    with torch.inference_mode():
        attention = model.forward_features(clip[None]).part_attention
    assert attention is not None, "the network has no part attention"
    return attention[0, :, -max(model.config.part_scales) :]


def measure(model: stmga.STMGA, persons: int, occlusion: float) -> dict[str, object]:
    overlaps, grounds, shares = [], [], []
    for person in range(persons):
        frames, labels = render_labelled(person, person % 2, seed=7, occlusion=occlusion)
        a = attention_of(model, frames)
        n, h, w = a.shape[1:]
        one_hot = F.one_hot(torch.from_numpy(labels).long(), len(Label)).movedim(-1, 1).float()
        region = F.adaptive_avg_pool2d(one_hot, (h, w))  # (t labels h w): what each position of the map shows
        flat = F.normalize(a.flatten(2), dim=-1)
        cosine = flat @ flat.mT
        overlaps.append((cosine.sum((-2, -1)) - n) / (n * (n - 1)))
        body = region[:, 1:6].sum(1, keepdim=True)
        mean = lambda where: (a * where).sum((0, 2, 3)) / where.sum().clamp(min=1e-6)  # noqa: B023, E731
        grounds.append(mean(region[:, :1]) / mean(body))
        above = a - a.amin((-2, -1), keepdim=True)
        share = torch.einsum("tnhw,tlhw->nl", above, region)
        shares.append(share / share.sum(1, keepdim=True).clamp(min=1e-9))
    share = torch.stack(shares).mean(0)
    return {
        "overlap": torch.cat(overlaps).mean().item(),
        "background": torch.stack(grounds).mean(0).tolist(),
        "share": {label.name.lower(): share[:, label].tolist() for label in Label},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", help="a name, or a folder of save_pretrained")
    parser.add_argument("--persons", type=int, default=40)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    named = stmga.list_weights(args.weights) or stmga.list_weights(f"{args.weights}.*")
    model = stmga.create_model(args.weights, pretrained=True) if named else stmga.STMGA.from_pretrained(args.weights)
    found = {}
    for title, occlusion in (("clear", 0.0), ("occluded", 1.0)):
        one = found[title] = measure(model, args.persons, occlusion)
        print(f"{title}: overlap {one['overlap']:.2f}; background over person", end=" ")
        print(" ".join(f"{value:.2f}" for value in one["background"]))
        for name, values in one["share"].items():
            print(f"  {name:12}" + "".join(f"{value:8.2f}" for value in values))
    if args.json:
        args.json.write_text(json.dumps({"weights": args.weights, "persons": args.persons, **found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
