"""The command that exports. Everything heavy is imported when it runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.options import add_model, model_of
from stmga.cli.parser import check_exists, check_writable, command, count

if TYPE_CHECKING:
    from stmga.deploy.int8 import Int8Export
    from stmga.model import STMGA
    from stmga.tracklets.tracklet import Tracklet

WALKERS = 48  # rendered persons to calibrate on where there are no crops
MOST_LOST = 0.5  # points of mAP; a file that loses more is written, with a warning


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga export -o person.onnx
  stmga export --model runs/mine/best -o mine.pt2
  stmga export -o person.onnx --frames 256 128                 # takes uint8 frames of this size
  stmga export -o person-int8.onnx --int8 --calibrate crops/   # for processors: a third of the time
  stmga export -o person.xml --int8 --calibrate crops/         # the same for OpenVINO alone: person.xml and person.bin
  stmga export -o person-crop.onnx --single-crop               # for TensorRT, DeepStream, Hailo
  stmga embed crops/ --model person.onnx -o crops.safetensors"""
    summary = "write a network as ONNX or as a torch.export program, and compare it with PyTorch"
    add = command(commands, "export", summary, example).add_argument
    add("-o", "--out", metavar="FILE", required=True, help="where to write, ending in .onnx or .pt2; .xml with --int8")
    add_model(add)
    add(
        "--frames", type=int, nargs=2, metavar=("HEIGHT", "WIDTH"),
        help="put preprocessing into the file, for uint8 frames of this size (default: it takes prepared clips)",
    )  # fmt: skip
    add("--opset", type=int, metavar="N", help="of ONNX, from 18 (default: the exporter's own)")
    add("--int8", action="store_true", help="int8 for processors, as .onnx or .xml; embeddings change slightly")
    add(
        "--calibrate", metavar="CROPS",
        help="for --int8: a folder of folders of crops or a .jsonl manifest (default: rendered walkers)",
    )  # fmt: skip
    add("--single-crop", action="store_true", help="one frame in, one vector out, for edge pipelines, as .onnx")
    add("--batch", type=count, metavar="N", help="for --single-crop: crops at once (default: any number)")


def export(args: argparse.Namespace) -> None:
    """Write one file, after its output has been compared with the network's."""
    _check(args)
    model, weights = model_of(args)
    print(f"weights   {weights}")
    start = time.perf_counter()
    write = _int8 if args.int8 else _single_crop if args.single_crop else _exact
    done = write(model, args)
    print(f"wrote     {done.path}: {done.size / 1e6:.1f} MB in {time.perf_counter() - start:.0f} s")


def _check(args: argparse.Namespace) -> None:
    """Options that contradict each other, before weights are loaded."""
    if args.int8 and args.single_crop:
        raise ValueError(
            "--int8 is for processors, --single-crop for tools that quantise by themselves; give one of them"
        )
    if args.calibrate is not None and not args.int8:
        raise ValueError("--calibrate belongs to --int8; add --int8, or leave it out")
    if args.batch is not None and not args.single_crop:
        raise ValueError("--batch belongs to --single-crop; other files take any number of clips")
    if args.single_crop and (args.frames or args.opset):
        raise ValueError("--single-crop has its own input and opset; leave out --frames and --opset")
    if Path(args.out).suffix == ".xml" and not args.int8:
        raise ValueError(
            f"{args.out}: an .xml file is written in int8 only; add --int8, or write .onnx, which OpenVINO runs"
        )
    if args.calibrate is not None:
        check_exists(args.calibrate)
    check_writable(args.out)
    if Path(args.out).suffix == ".xml":
        check_writable(str(Path(args.out).with_suffix(".bin")))


def _exact(model: STMGA, args: argparse.Namespace) -> Any:
    from stmga.deploy.export import AGREE, SHAPES
    from stmga.deploy.export import export as write

    done = write(model, args.out, frames=args.frames, opset=args.opset)
    _print_shapes(model, args)
    shapes = ", ".join(f"({b}, {t})" for b, t in SHAPES)
    print(f"compared  with PyTorch at (b, t) = {shapes}; at most {AGREE:g} is allowed")
    for runtime, worst in done.differences.items():
        print(f"          {runtime:<12}{worst:.1e}")
    return done


def _print_shapes(model: STMGA, args: argparse.Namespace) -> None:
    h, w = args.frames or model.config.size
    kind = "uint8 frames, preprocessing inside" if args.frames else "float32, as ClipTransform gives them"
    print(f"takes     clips (b, t, 3, {h}, {w}), {kind}; any b and t")
    print(f"gives     embedding (b, {model.dim}) of unit length, and feature (b, {model.dim}) before the norm")


def _int8(model: STMGA, args: argparse.Namespace) -> Any:
    from stmga.deploy.int8 import LEAST_COSINE, export_int8

    done = export_int8(model, args.out, _calibration(model, args), frames=args.frames, opset=args.opset)
    _print_shapes(model, args)
    source = args.calibrate or "RENDERED WALKERS, as there is no --calibrate; crops of your own cameras are better"
    print(f"calibrated on {done.calibrated} frames of {source}")
    print(f"ranges    {done.ranges}; in floating point: {', '.join(done.float_heads) or 'nothing'}")
    print(f"compared  with float32 on {len(done.held_out)} other tracklets; a mean cosine of {LEAST_COSINE} is wanted")
    for runtime, cosine in done.cosines.items():
        print(f"          {runtime:<12}mean {float(cosine.mean()):.4f}, least {float(cosine.min()):.4f}")
    _print_map(done)
    if done.path.suffix == ".xml":
        print(f"beside it {done.path.with_suffix('.bin').name}, which has the weights; keep both together")
    print(f"size      {done.size / done.float_size:.2f} of float32, {done.float_size / 1e6:.1f} MB")
    print("note      its vectors have a digest of their own and no thresholds: embed queries and gallery both with it")
    return done


def _calibration(model: STMGA, args: argparse.Namespace) -> list[Tracklet]:
    from stmga.tracklets import read_tracklets

    if args.calibrate is not None:
        return read_tracklets(args.calibrate)
    from stmga.data.walkers.generate import walkers_benchmark

    size = tuple(args.frames or model.config.size)
    made = walkers_benchmark(0, WALKERS, cameras=2, tracklets=1, frames=8, size=(size[0], size[1]))
    return [*made.query, *made.gallery]


def _print_map(done: Int8Export) -> None:
    """mAP of the held out tracklets among themselves, if they have persons who are seen more than once."""
    from stmga.embedding.embeddings import Embeddings
    from stmga.metrics import Protocol, evaluate
    from stmga.metrics.ranking import NoMatchError

    items = [tracklet.row() for tracklet in done.held_out]
    protocol = Protocol(queries_in_gallery=False)
    try:
        exact, found = (
            100 * evaluate(each, each, protocol).mAP
            for each in (Embeddings(vectors, items, digest="0" * 64) for vectors in (done.exact, done.found))
        )
    except NoMatchError:
        print("mAP       not measured: no person of the held out tracklets is seen twice, or none is known")
        return
    print(f"mAP       {found:.2f} instead of {exact:.2f} on the held out tracklets, in {next(iter(done.cosines))}")
    if exact - found > MOST_LOST:
        print(f"WARNING   it loses more than {MOST_LOST} points of mAP; calibrate on more tracklets, or use float32")


def _single_crop(model: STMGA, args: argparse.Namespace) -> Any:
    from stmga.deploy.single_crop import AGREE, export_single_crop
    from stmga.deploy.tensorrt import VERSION

    done = export_single_crop(model, args.out, batch=args.batch)
    h, w = model.config.size
    n = args.batch or "n"
    print(f"takes     crops ({n}, 3, {h}, {w}), float32 RGB in 0..255; mean and standard deviation are inside")
    print(f"gives     embedding ({n}, {model.dim}) of unit length")
    print(f"compared  with PyTorch in ONNX Runtime without optimisations: {done.difference:.1e}, at most {AGREE:g}")
    print(f"operators all in the list of TensorRT {VERSION}; ONNX's checker accepts the file")
    print(f"beside it {', '.join(path.name for path in done.beside)}")
    return done


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"export": export}
