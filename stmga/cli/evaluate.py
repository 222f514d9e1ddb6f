"""The commands that score: eval and calibrate. Everything heavy is imported when a command runs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.options import (
    add_computing,
    add_flip,
    add_model,
    add_source,
    benchmark_of,
    computing_model_of,
    describe,
    device_for,
)
from stmga.cli.parser import command, count, is_main_process

if TYPE_CHECKING:
    from stmga.embedding.embeddings import Embeddings
    from stmga.metrics import Evaluation, Protocol

COMPUTING = ("precision", "compile", "batch_size", "workers", "decode")  # options of an embedder


def add_arguments(commands: Any) -> None:
    """Add these commands to the parser."""
    _add_eval(commands)
    _add_calibrate(commands)


def _add_eval(commands: Any) -> None:
    example = """  stmga eval MARS/ --model runs/mars/best -o result.json
  stmga eval walkers/manifest.jsonl --model runs/walkers/best --rerank
  stmga eval labelled/ --layout "{person}/{camera}/{tracklet}" --holdout 0.2 \\
      --model runs/mine/best --against stmga_resnet18_c4
  stmga eval all.safetensors --title "my cameras, 2026" -o result.json
  stmga eval queries.safetensors gallery.safetensors --no-queries-in-gallery"""
    words = "score a network on a data set, or embeddings, by a stated protocol: mAP, rank-k, mINP"
    parser = command(commands, "eval", words, example)
    add = parser.add_argument
    add(
        "source", metavar="SOURCE",
        help="a data set, a folder, a manifest or a pack; or embeddings with the roles query and gallery",
    )  # fmt: skip
    add("gallery", metavar="GALLERY", nargs="*", help="with these, SOURCE holds embeddings that are all queries")
    add("-o", "--out", metavar="FILE", help="write scores, counts, protocol and weights, .json")
    add("-q", "--quiet", action="store_true", help="no progress bar")
    _add_protocol(parser.add_argument_group("protocol, where it is not the data set's own").add_argument)
    add_source(parser.add_argument_group("data, where SOURCE is not a file of embeddings").add_argument)
    group = parser.add_argument_group("network, where SOURCE is not a file of embeddings")
    add_model(group.add_argument)
    group.add_argument(
        "--against", nargs="+", default=[], metavar="NAME",
        help="score these networks on the same test too, and print them above --model in one table",
    )  # fmt: skip
    add_computing(group.add_argument)
    add_flip(group.add_argument)


def _add_protocol(add: Callable[..., Any]) -> None:
    add("--title", default="", metavar="TEXT", help="data set and split, as text, to be kept with the result")
    add("--distance", choices=("cosine", "euclidean"), help="default: cosine")
    add("--rerank", action="store_true", help="k-reciprocal re-ranking (Zhong et al. 2017)")
    add("--ap", choices=("hits", "trapezoid"), help="average precision (default: hits)")
    add("--keep-same-camera", action="store_true", help="keep the query's own person from the query's own camera")
    add("--keep-unknown-camera", action="store_true", help="count its own person from an unknown camera as a match")
    add(
        "--queries-in-gallery", action=argparse.BooleanOptionalAction,
        help="the other queries are in each query's gallery (default: yes)",
    )  # fmt: skip
    add("--junk", nargs="+", default=[], metavar="PERSON", help="persons to drop, as -1 in MARS")
    add("--distractors", nargs="+", default=[], metavar="PERSON", help="persons who match nobody, as 0 in MARS")
    add("--clips", choices=("all", "evenly"), help="how tracklets are, or were, cut into clips (default: all)")


def _add_calibrate(commands: Any) -> None:
    example = """  stmga calibrate labelled.safetensors
  stmga calibrate labelled.safetensors -o gallery-calibrated.safetensors --rates 0.01 0.001
  stmga calibrate halves.safetensors --unlabelled --for all.safetensors"""
    summary = "measure which similarity means the same person, and keep it with the embeddings"
    add = command(commands, "calibrate", summary, example).add_argument
    add("embeddings", metavar="EMBEDDINGS", help="of `stmga embed`, of known persons and, better, cameras")
    add("-o", "--out", metavar="FILE", help="write them here with their calibration (default: into the same file)")
    add(
        "--for",
        dest="target",
        metavar="FILE",
        help="write the thresholds into these embeddings instead; they must be of the same weights",
    )
    add(
        "--rates", type=float, nargs="+", metavar="RATE",
        help="shares of the pairs of different persons that may pass (default: those of 0.01 0.001 0.0001 for which "
        "there are enough pairs)",
    )  # fmt: skip
    add("--block", type=count, metavar="N", help="tracklets compared at once; fewer take less memory")
    add(
        "--unlabelled", action="store_true",
        help="EMBEDDINGS are of `stmga embed --halves`: halves of a tracklet are one person, tracklets that one camera "
        "saw at the same time are two",
    )  # fmt: skip


def protocol_of(args: argparse.Namespace, base: Protocol) -> Protocol:
    """``base`` with the changes that the options of ``stmga eval`` ask for."""
    from dataclasses import replace

    from stmga.metrics import Reranking

    changes = {
        "data": args.title or None,
        "queries_in_gallery": args.queries_in_gallery,
        "junk": tuple(args.junk) or None,
        "distractors": tuple(args.distractors) or None,
        "same_camera": "keep" if args.keep_same_camera else None,
        "unknown_camera": "keep" if args.keep_unknown_camera else None,
        "ap": args.ap,
        "distance": args.distance,
        "clips": args.clips,
        "reranking": Reranking() if args.rerank else None,
    }
    return replace(base, **{name: value for name, value in changes.items() if value is not None})


def evaluate(args: argparse.Namespace) -> None:
    """Scores of a network on a data set, or of existing embeddings."""
    from stmga.metrics import Protocol, evaluate

    check_json(args.out)
    path = Path(args.source)
    if args.gallery or path.suffix == ".safetensors" or (path.is_file() and path.suffix != ".jsonl"):
        for option in ("flip", "against"):
            if getattr(args, option):
                words = "is for a network on a data set; embeddings say themselves how they were made"
                raise ValueError(f"--{option} {words}")
        tests = [(*_sides(args), protocol_of(args, Protocol()))]
    else:
        tests = _embedded(args)
    found = [evaluate(queries, gallery, protocol, device=args.device) for queries, gallery, protocol in tests]
    if is_main_process():
        report_evaluation(found[0], against=found[1:], out=args.out)


def _embedded(args: argparse.Namespace) -> list[tuple[Embeddings, Embeddings, Protocol]]:
    """Queries, gallery and protocol for the network, then for each network that it is compared with."""
    from dataclasses import replace

    from stmga.train.validation import embed_test
    from stmga.utils.distributed import process_group

    benchmark = benchmark_of(args, args.source)
    if not benchmark.query or not (benchmark.gallery or benchmark.protocol.queries_in_gallery):
        raise ValueError(
            f"{args.source} has no test: {len(benchmark.query)} queries, {len(benchmark.gallery)} gallery tracklets; "
            "give its tracklets the roles query and gallery, or set persons aside with --holdout"
        )
    benchmark = replace(benchmark, protocol=replace(protocol_of(args, benchmark.protocol), flip=args.flip))
    others = [{"model": name, "revision": None, "backbone_weights": None} for name in args.against]
    models = [computing_model_of(argparse.Namespace(**vars(args) | other)) for other in ({}, *others)]
    if is_main_process():
        print(*describe(benchmark), *(f"weights   {weights}" for _, weights in models), sep="\n")
    options: dict[str, Any] = {key: getattr(args, key) for key in COMPUTING} | {"progress": not args.quiet}
    tests = []
    with process_group(device_for(args, models[0][0])) as world:
        for model, weights in models:
            device = world.device if world.size > 1 else device_for(args, model)
            queries, gallery = embed_test(model, benchmark, world, device=device, **options)
            for side in (queries, gallery):
                side.model = side.model or weights
            tests.append((queries, gallery, benchmark.protocol))
    return tests


def check_json(out: str | None) -> None:
    """Check the output path before the work, not after it."""
    if out and (Path(out).suffix != ".json" or Path(out).is_dir()):
        raise ValueError(f"the result can be written as .json, got {out!r}")
    if out and not Path(out).absolute().parent.is_dir():
        raise FileNotFoundError(f"the folder {Path(out).absolute().parent} does not exist; create it first")


def report_evaluation(evaluation: Evaluation, *, against: Sequence[Evaluation] = (), out: str | None = None) -> None:
    """Write the result with all that it depends on, if asked to. Then print it, beside ``against`` if given."""
    from stmga.utils.files import atomic_write
    from stmga.utils.foreign import escaped

    if out:
        result = evaluation.to_dict() | ({"against": [other.to_dict() for other in against]} if against else {})
        atomic_write(out, (json.dumps(result, indent=1) + "\n").encode())
    print(evaluation)
    model, digest = escaped(evaluation.model) or "unnamed", escaped(evaluation.digest[:12]) or "none"
    print(f"weights   {model}, digest {digest}")
    if against:
        print("\n" + _side_by_side([*against, evaluation]))
    if out:
        print(f"wrote     {out}")


def _side_by_side(evaluations: Sequence[Evaluation]) -> str:
    """Scores in %, a row for each network, as a table."""
    from stmga.utils.text import text_table

    rows = []
    for found in evaluations:
        scores = (found.mAP, found.rank(1), found.rank(5), found.rank(10), found.mINP)
        rows.append([found.model, *(f"{score:.2%}" for score in scores)])
    return text_table(("weights", "mAP", "rank-1", "rank-5", "rank-10", "mINP"), rows)


def split_roles(embeddings: Embeddings, path: str) -> tuple[Embeddings, Embeddings]:
    """Queries and gallery by the items' ``role``; those of role ``train`` are left out.

    Raises:
        ValueError: another role, or none of either side.
    """
    from stmga.utils.text import preview

    roles = [item.get("role") for item in embeddings.items]
    if strange := sorted({str(role) for role in roles} - {"query", "gallery", "train"}):
        raise ValueError(
            f"{path} holds tracklets of role {preview(strange)}; every item needs the role query or gallery "
            "(or train), or name the gallery in files of its own: stmga eval QUERIES GALLERY"
        )
    queries, gallery = (embeddings.select([role == wanted for role in roles]) for wanted in ("query", "gallery"))
    if not len(queries) or not len(gallery):
        raise ValueError(f"{path} holds {len(queries)} queries and {len(gallery)} gallery tracklets; both are needed")
    return queries, gallery


def _sides(args: argparse.Namespace) -> tuple[Embeddings, Embeddings]:
    from stmga.embedding.embeddings import Embeddings
    from stmga.gallery.gallery import Gallery

    queries = Embeddings.load(args.source)
    if not args.gallery:
        return split_roles(queries, args.source)
    gallery = Gallery()
    for path in args.gallery:
        gallery.add(Embeddings.load(path))
    return queries, gallery.embeddings


def calibrate_file(args: argparse.Namespace) -> None:
    """Thresholds of labelled embeddings, kept in a file."""
    from stmga.embedding.embeddings import Embeddings
    from stmga.metrics import calibrate
    from stmga.people.unlabelled import calibrate_unlabelled
    from stmga.utils.foreign import escaped
    from stmga.utils.text import text_table

    labelled = Embeddings.load(args.embeddings)
    target = Embeddings.load(args.target) if args.target else labelled
    labelled.require_same_weights(target, f"the vectors of {args.embeddings}", f"those of {args.target}")
    if args.unlabelled:
        found = calibrate_unlabelled(labelled, false_match_rates=args.rates)
    else:
        found = calibrate(labelled, false_match_rates=args.rates, block=args.block)
    target.calibration = found
    out = args.out or args.target or args.embeddings
    target.save(out)
    who = "tracklets that one camera saw at the same time as others" if args.unlabelled else "persons"
    print(
        f"{found.persons:,} {who}: {found.impostor_pairs:,} pairs of different persons, "
        f"{found.genuine_pairs:,} of one person; vectors by {escaped(labelled.model) or 'unnamed weights'}\n"
    )
    rows = [[f"{p.false_match_rate:g}", f"{p.similarity:.4f}", f"{p.true_match_rate:.2%}"] for p in found.thresholds]
    print(text_table(("false-match rate", "similarity", "true-match rate"), rows))
    print(f"\nverdicts of `stmga search`: {found.describe()}\nwrote {out}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"eval": evaluate, "calibrate": calibrate_file}
