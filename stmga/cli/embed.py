"""The command that makes embeddings."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from stmga.cli.image_networks import add_image_network
from stmga.cli.options import (
    add_computing,
    add_max_pixels,
    add_model,
    add_trust_content,
    add_views,
    computing_model_of,
    device_for,
    peak_memory,
)
from stmga.cli.parser import check_exists, check_writable, command, count, is_main_process

if TYPE_CHECKING:
    from stmga.embedding.embedder import TrackletEmbedder
    from stmga.embedding.embeddings import Embeddings
    from stmga.embedding.network import TrackletNetwork
    from stmga.tracklets.tracklet import Tracklet
    from stmga.utils.distributed import World

TRACKS = ("camera", "first_index", "stride", "min_frames", "classes", "columns")  # options of a track file alone


def add_arguments(commands: Any) -> None:
    """Add this command to the parser."""
    example = """  stmga embed crops/ -o crops.safetensors
  stmga embed labelled/ -o labelled.safetensors --layout "{person}/{camera}/{tracklet}"
  stmga embed tracklets.jsonl -o all.safetensors --workers 2
  stmga embed cam1.txt -o cam1.safetensors --mot-frames cam1.mp4 --camera 1
  torchrun --nproc-per-node 2 -m stmga embed tracklets.jsonl -o all.safetensors"""
    add = command(commands, "embed", "write one vector for each tracklet", example).add_argument
    add("source", metavar="SOURCE", help="a folder of folders of crops, a .jsonl manifest, or a MOT track file")
    add("-o", "--out", metavar="FILE", required=True, help="the embeddings, a .safetensors file")
    add_model(add)
    add_image_network(add)
    add(
        "--layout",
        default="{tracklet}",
        help='what folders mean, as "{person}/{camera}/{tracklet}" (default: "{tracklet}")',
    )
    _add_tracks(add)
    add_max_pixels(add)
    add_computing(add)
    add(
        "--sampling", choices=("all", "evenly"), default="all",
        help="all frames, or one clip of frames spread evenly over a tracklet (default: all)",
    )  # fmt: skip
    add("--frames", type=count, metavar="N", help="of each tracklet, spread evenly over it (default: all)")
    add_views(add)
    add(
        "--halves", action="store_true",
        help="two vectors for each tracklet, of its first and its second half, for `stmga calibrate --unlabelled`",
    )  # fmt: skip
    add_trust_content(add)
    add(
        "--on-error",
        choices=("raise", "skip"),
        default="raise",
        help="stop at an unreadable tracklet (raise) or leave it out (skip); default: raise",
    )
    add("-q", "--quiet", action="store_true", help="no progress bar")


def _add_tracks(add: Callable[..., Any]) -> None:
    """The arguments of a track file."""
    add("--mot-frames", metavar="PATH", help="SOURCE is a track file over this folder of frames or video")
    add("--camera", help="label of the camera; only with --mot-frames")
    add(
        "--first-index",
        type=int,
        metavar="N",
        help="the number of the first frame in a track file (default: 1; 0 where its format says so)",
    )
    add(
        "--stride", type=count, metavar="N", help="the tracker saw every N-th frame and counted only those (default: 1)"
    )
    add("--min-frames", type=count, metavar="N", help="leave out shorter tracks of a track file (default: 1)")
    add("--classes", type=_names, metavar="A,B", help="read only these classes of a track file (default: all)")
    add("--columns", metavar="A,B,...", help='columns of a track file without names, as "frame,id,x1,y1,x2,y2"')


def embed(args: argparse.Namespace) -> None:
    """One vector for each tracklet, in a file; with torchrun by several processes."""
    from stmga.embedding.resumable import embed_in_pieces
    from stmga.tracklets.split import evenly, halves
    from stmga.utils.distributed import process_group

    check_writable(args.out)
    for path in filter(None, (args.source, args.mot_frames)):
        check_exists(path)
    tell = print if is_main_process() else lambda _: None
    tracklets = _read(args)  # before the weights are loaded, or even downloaded
    if args.halves:
        tracklets = halves(tracklets)
    if args.frames is not None:
        tracklets = [evenly(tracklet, args.frames) for tracklet in tracklets]
    persons, cameras = ({getattr(t, what) for t in tracklets} - {None} for what in ("person", "camera"))
    known = f"{len(persons) or 'unknown'} persons, {len(cameras) or 'unknown'} cameras"
    tell(f"read      {len(tracklets):,} tracklets, {sum(map(len, tracklets)):,} frames, {known} from {args.source}")
    model, weights = computing_model_of(args)
    tell(f"weights   {weights}")
    with process_group(device_for(args, model)) as world:
        several = f", {world.size} processes" if world.size > 1 else ""
        named = {"compiled": args.compile, "flip": args.flip, "two sizes": args.two_sizes}
        options = "".join(f", {name}" for name, on in named.items() if on)
        tell(f"device    {world.device}, {args.precision}{options}{several}")
        embedder = _embedder(args, model, world)
        start = time.perf_counter()
        embeddings = embed_in_pieces(
            embedder, tracklets, args.out, world, name=weights, trust_content=args.trust_content
        )
        seconds = time.perf_counter() - start
        device = str(world.device)
    if embeddings is None:  # the main process reports
        return
    _report(args, embeddings, tracklets, seconds, device, model.clip_length)


def _embedder(args: argparse.Namespace, model: TrackletNetwork, world: World) -> TrackletEmbedder:
    from stmga.embedding.embedder import TrackletEmbedder

    return TrackletEmbedder(
        model,
        device=world.device,
        precision=args.precision,
        compile=args.compile,
        batch_size=args.batch_size,
        workers=args.workers,
        decode=args.decode,
        sampling=args.sampling,
        flip=args.flip,
        two_sizes=args.two_sizes,
        on_error=args.on_error,
        progress=world.is_main and not args.quiet,
    )


def _report(
    args: argparse.Namespace,
    embeddings: Embeddings,
    tracklets: Sequence[Tracklet],
    seconds: float,
    device: str,
    clip: int,
) -> None:
    """What was skipped, how fast it went, and what was written."""
    for skip in embeddings.skipped:
        print(f"skipped   {skip['reason']}")
    kept, most = set(embeddings.ids), clip if args.sampling == "evenly" else sys.maxsize
    frames = sum(min(len(tracklet), most) for tracklet in tracklets if tracklet.id in kept)
    speed = f"{frames / seconds:,.0f} frames/s ({frames:,} frames in {seconds:.1f} s)"
    print(f"speed     {speed}, peak memory {peak_memory(device)}")
    count, dim = embeddings.vectors.shape
    lost = f", {len(embeddings.skipped):,} skipped" if embeddings.skipped else ""
    print(f"wrote     {args.out}: {count:,} {dim}-dimensional vectors{lost}, digest {embeddings.digest[:12]}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",")]


def _read(args: argparse.Namespace) -> list[Tracklet]:
    check_files = args.on_error == "raise"
    tracks = {key: getattr(args, key) for key in TRACKS}
    tracks = {key: value for key, value in tracks.items() if value is not None}
    if args.mot_frames is None:
        from stmga.tracklets.readers import read_tracklets

        for key in tracks:
            hint = "; a folder says it in --layout, a manifest in its lines" if key == "camera" else ""
            raise ValueError(f"--{key.replace('_', '-')} belongs to --mot-frames{hint}")
        return read_tracklets(args.source, layout=args.layout, check_files=check_files, max_pixels=args.max_pixels)
    from stmga.tracklets.mot import read_mot

    return read_mot(args.source, args.mot_frames, **tracks, check_files=check_files, max_pixels=args.max_pixels)


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {"embed": embed}
