"""Options that several commands share: which network, where it computes, which data."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stmga.cli.parser import count, say

if TYPE_CHECKING:
    from stmga.data.benchmark import Benchmark
    from stmga.deploy.exported import ExportedModel
    from stmga.embedding.frame_encoder import FrameEncoder
    from stmga.model import STMGA


MODEL = "stmga_resnet18_c4.market_cuhk03_256"  # for commands that want trained weights: good, and fast on a CPU
DEFAULT = "stmga_resnet18_c4"  # of --model


def add_model(add: Callable[..., Any], *, several: bool = False) -> None:
    """The arguments that name a network, or ``several``, which are a list that is empty by default."""
    many: dict[str, Any] = {"action": "append", "default": []} if several else {"default": DEFAULT}
    add(
        "--model", metavar="NAME", **many,
        help="an architecture, architecture.tag, a folder of save_pretrained, a Hub id, or a file of `stmga export`, "
        f"for embedding and scoring only (default: {DEFAULT}){'; may repeat' if several else ''}",
    )  # fmt: skip
    add("--revision", help="branch, tag or commit of a Hub id")
    add(
        "--backbone-weights", metavar="FILE", help='start an untrained trunk from "imagenet" or from a safetensors file'
    )
    add(
        "--backbone-missing", metavar="STAGE", action="append", default=[],
        help="a stage that the file of --backbone-weights lacks, such as layer4",
    )  # fmt: skip


def add_computing(add: Callable[..., Any]) -> None:
    """The arguments that say where and how it computes."""
    add_device(add)
    add_precision(add)
    add("--compile", action="store_true", help="torch.compile the network: a minute first, then faster")
    add("--batch-size", type=count, metavar="N", help="clips at once (default: of 32 frames; on a GPU, of 256)")
    add(
        "--decode",
        choices=("host", "device"),
        default="host",
        help="where JPEG files are decoded; device: on the GPU (default: host)",
    )
    add_workers(add)


def add_frames(add: Callable[..., Any]) -> None:
    """The argument that says how many frames of a track make its vector."""
    add(
        "--frames", type=count, default=8, metavar="N",
        help="of each tracklet, spread evenly over it, that make its vector (default: 8; thresholds were measured so)",
    )  # fmt: skip


def add_device(add: Callable[..., Any]) -> None:
    """The argument that says where it computes."""
    add("--device", type=device_name, help="such as cpu or cuda:0 (default: the GPU, if there is one)")


def device_name(text: str) -> str:
    """The name of a device as torch writes it; a type for argparse."""
    if not re.fullmatch(r"(cpu|cuda|mps|xpu)(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"expected cpu, cuda, cuda:N, mps or xpu, got {text!r}")
    return text


def add_workers(add: Callable[..., Any]) -> None:
    """The argument that says how many processes read images."""
    add(
        "--workers",
        type=int,
        default=0,
        metavar="N",
        help="processes that read images (default: 0: read in the main process)",
    )


def add_trust_content(add: Callable[..., Any]) -> None:
    """The argument that says what identifies the files of an input."""
    add(
        "--trust-content", action="store_true",
        help="recognise input files by their contents, not by path, size and time, so that copied files are accepted "
        "on resuming; give it from the first call on",
    )  # fmt: skip


def add_precision(add: Callable[..., Any], what: str = "", *, default: str | None = "fp32") -> None:
    """The argument for the floating point type. ``default=None``: the settings have the default."""
    words = f"{what} (default: fp32)" if what else "default: fp32"
    add("--precision", choices=("fp32", "bf16", "fp16"), default=default, help=words)


def add_training_process(add: Callable[..., Any]) -> None:
    """The arguments of a process that trains, on which its result does not depend."""
    add_device(add)
    add_workers(add)
    add_trust_content(add)
    add("--keep-frames", action="store_true", help="keep decoded frames in memory, 98 KB each at 256 x 128")
    add("-q", "--quiet", action="store_true", help="no progress bar")


def add_views(add: Callable[..., Any]) -> None:
    """The arguments that average views of a clip."""
    add("--flip", action="store_true", help="average each clip with its mirror image: a little better, twice the work")
    add("--two-sizes", action="store_true", help="average two sizes of its frames: better, 2.5 times the work")


def model_of(args: argparse.Namespace) -> tuple[STMGA, str]:
    """The network that --model asks for, and what its weights are, as text."""
    from stmga.model import STMGA
    from stmga.zoo import create_model, list_weights

    name, trunk = args.model, args.backbone_weights
    trained = has_weights(name) or (not trunk and bool(list_weights(f"{name}.*")))
    if trained and trunk:
        raise ValueError(f"{name} has weights already; --backbone-weights is for an architecture by its bare name")
    if is_place(name):
        model = STMGA.from_pretrained(name, revision=args.revision)
    elif args.revision:
        raise ValueError(f"--revision is for a Hub id such as org/name, not for {name!r}")
    elif trained:
        model = create_model(name, pretrained=True)
    else:
        import torch

        torch.manual_seed(0)  # the same numbers every time: queries and gallery may be embedded by two commands
        model = create_model(name, backbone_weights=trunk, backbone_missing=tuple(args.backbone_missing))
        origin = f"trunk from {Path(trunk).name}, the rest random" if trunk else "random"
        return model, f"{name}, NOT TRAINED ({origin}, seed 0)"
    record = model.record
    return model, f"{(record and record.name) or name}" + (f", from {args.revision}" if args.revision else "")


def is_place(name: str) -> bool:
    """Whether --model is a folder or a Hub id."""
    from stmga.zoo import is_name

    return not is_name(name) and (Path(name).is_dir() or "/" in name)


def has_weights(name: str) -> bool:
    """Whether --model names weights, not an architecture by its bare name."""
    return is_place(name) or "." in name


def trained(name: str) -> tuple[STMGA, str]:
    """A network with trained weights, by its name, folder or Hub id; and what these weights are called."""
    from stmga.model import STMGA
    from stmga.zoo import create_model, is_name, list_weights

    known = bool("." in name or list_weights(f"{name}.*")) if is_name(name) else "/" in name or Path(name).is_dir()
    if not known:
        raise ValueError(f"there are no trained weights {name!r}, and no such folder; `stmga weights` lists the names")
    model = create_model(name, pretrained="." not in name) if is_name(name) else STMGA.from_pretrained(name)
    record = model.record
    return model, (record and record.name) or _ending(name)


def _ending(path: str) -> str:
    """A path for the record of a run: only the last two names of a local path, such as ``mine/best``."""
    return "/".join(Path(path).parts[-2:]) if Path(path).is_absolute() else path


def computing_model_of(args: argparse.Namespace) -> tuple[STMGA | ExportedModel | FrameEncoder, str]:
    """As :func:`model_of`, where an exported file or a network of images will do too."""
    from stmga.cli.image_networks import image_network, is_image_network

    if is_image_network(args.model):
        return image_network(args)
    if Path(args.model).suffix not in (".onnx", ".pt2", ".xml"):
        return model_of(args)
    from stmga.deploy.exported import ExportedModel

    model = ExportedModel(args.model)
    name = model.record.name if model.record is not None else ""
    return model, f"{name or 'unnamed weights'} of {args.model}, run by {model.runtime}"


def device_for(args: argparse.Namespace, model: STMGA | ExportedModel | FrameEncoder) -> str:
    """The device asked for; else the GPU, if there is one and the model can go there."""
    from stmga.model import STMGA

    movable = isinstance(model, STMGA) or getattr(model, "module", None) is not None
    return args.device or (best_device() if movable else str(model.device))


def best_device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def peak_memory(device: str) -> str:
    sizes = []
    try:
        import resource
    except ImportError:  # Windows
        pass
    else:
        unit = 1 if sys.platform == "darwin" else 1024
        sizes.append(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB in this process")
    if device.startswith("cuda"):
        import torch

        sizes.append(f"{torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB on {device}")
    return ", ".join(sizes) or "unknown"


# ---- data


NAMES = (
    "mars, duke, lsvid, ilids, prid, market, msmt17, cuhk03-labeled, cuhk03-detected, cuhk03-classic-labeled, "
    "cuhk03-classic-detected, folders or manifest"
)  # values of --dataset
SPLITS = "iLIDS-VID or PRID-2011, 0 to 9, or of classic CUHK03, 0 to 19"


def add_max_pixels(add: Callable[..., Any]) -> None:
    """The argument that says how large a picture may be."""
    add("--max-pixels", type=count, metavar="N", help="refuse pictures of more pixels (default: 64 million)")


def add_source(add: Callable[..., Any]) -> None:
    """The arguments that say what a SOURCE is."""
    add("--dataset", default="auto", help=f"{NAMES} (default: by its look)")
    add(
        "--layout", default="{person}/{tracklet}",
        help='what folders mean, as "{role}/{person}/{camera}/{tracklet}" (default: "{person}/{tracklet}")',
    )  # fmt: skip
    add("--split", type=int, default=0, metavar="N", help=f"which split of {SPLITS} (default: 0)")
    add(
        "--holdout", type=float, default=0.0, metavar="SHARE",
        help="set aside this share of the persons as a test, where the data has none (default: 0)",
    )  # fmt: skip
    add("--holdout-seed", type=int, default=0, metavar="N", help="chooses who is set aside (default: 0)")
    add_max_pixels(add)


def add_training_data(add: Callable[..., Any]) -> None:
    """The arguments that say what is trained on, and tested on beside it."""
    add(
        "--data", metavar="SOURCE", required=True, nargs="+",
        help="a folder, a .jsonl manifest, or a pack of `stmga pack`; several train side by side",
    )  # fmt: skip
    add("--test", metavar="SOURCE", help="validate on the queries and gallery of this data set, not of --data")
    add_source(add)


def training_data(args: argparse.Namespace) -> Benchmark:
    """The training data and its test; prints their description."""
    from stmga.data import side_by_side

    if args.holdout and (args.test or len(args.data) > 1):
        raise ValueError("--holdout sets persons of one set aside; leave it out, and name what to test on as --test")
    every = [benchmark_of(args, source) for source in args.data]
    test = benchmark_of(args, args.test) if args.test else None
    found = side_by_side(every, test=test) if test or len(every) > 1 else every[0]
    for line in describe(found):
        say(line)
    return found


def benchmark_of(args: argparse.Namespace, source: str) -> Benchmark:
    """The data, by role."""
    from stmga.data import load_benchmark

    return load_benchmark(
        source,
        dataset=args.dataset,
        layout=args.layout,
        split=args.split,
        holdout=args.holdout,
        seed=args.holdout_seed,
        max_pixels=args.max_pixels,
    )


def describe(benchmark: Benchmark) -> list[str]:
    """Lines that describe the data."""
    persons = len({t.person for t in benchmark.train})
    lines = [f"data      {benchmark.name}: {len(benchmark.train):,} tracklets of {persons:,} persons to train on"]
    if benchmark.query:
        lines.append(f"test      {len(benchmark.query):,} queries, {len(benchmark.gallery):,} gallery tracklets")
    if benchmark.terms:
        lines.append(f"terms     {benchmark.terms}")
    return lines
