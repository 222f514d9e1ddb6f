"""Shared by the benchmarks: runs both sides of a comparison in turns, on a CPU or with events on a GPU."""

import argparse
import json
import multiprocessing
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from multiprocessing.connection import Connection
from pathlib import Path

import torch

import stmga
from stmga.utils.cpu import keep_freed_memory, processor

Side = Callable[[], object]
Builder = Callable[[], AbstractContextManager[Side]]  # what a process of its own needs first
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def where(device: str = "cpu") -> str:
    """The machine and the versions, as text."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else processor()
    threads = f"{torch.get_num_threads()} threads, " if device == "cpu" else ""
    return f"{name}, {threads}Python {platform.python_version()}, torch {torch.__version__}, stmga {stmga.__version__}"


def keep_or_refuse(parser: argparse.ArgumentParser, wanted: bool = True) -> None:
    """Keep freed memory in this process if ``wanted``; a command line error if the C library cannot."""
    if wanted and not keep_freed_memory():
        parser.error("keeping freed memory needs glibc")


def seconds(run: Side, device: str = "cpu", *, launched: bool = False) -> float:
    """How long one call takes; of a GPU between two events.

    ``launched``: the GPU waits until the call is in its queue, so that its own work is timed and not Python's.
    """
    if not device.startswith("cuda"):
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    if launched:
        torch.cuda._sleep(4_000_000)  # cycles, some two milliseconds
    begin.record()
    run()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / 1e3


def in_turns(
    sides: Mapping[str, Side], rounds: int, *, device: str = "cpu", warm_up: int = 2, launched: bool = False
) -> dict[str, dict]:
    """Each side's median and quartiles in seconds, and of its ratio to the first side within a round.

    A round times each side once, and whoever goes first changes, so that a slow minute of the machine hits all.
    """
    for run in sides.values():
        for _ in range(warm_up):
            run()
    took: dict[str, list[float]] = {name: [] for name in sides}
    for i in range(rounds):
        for name in list(sides) if i % 2 else reversed(sides):
            took[name].append(seconds(sides[name], device, launched=launched))
    base = took[next(iter(sides))]
    found = {}
    for name, times in took.items():
        ratios = [t / b for t, b in zip(times, base, strict=True)]
        found[name] = {
            "seconds": statistics.median(times),
            "seconds_quartiles": quartiles(times),
            "ratio": statistics.median(ratios),
            "ratio_quartiles": quartiles(ratios),
        }
    return found


def in_turns_apart(
    sides: Mapping[str, Builder], rounds: int, *, device: str = "cpu", warm_up: int = 3
) -> dict[str, dict]:
    """Each side in a process of its own, so that its peak memory is its own: the seconds of its calls, and the peak.

    They take turns as in :func:`in_turns`, and ratios are to the first side. Times are the clock's, on a GPU too.
    """
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    took: dict[str, list[float]] = {name: [] for name in sides}
    for name, build in sides.items():
        pipes[name], other = context.Pipe()
        processes.append(context.Process(target=_apart, args=(other, build, device), daemon=True))
        processes[-1].start()
        other.close()  # so that the benchmark ends if a side dies
    for turn in range(warm_up + rounds):
        for name in sides if turn % 2 else reversed(sides):
            pipes[name].send(True)
            seconds = pipes[name].recv()
            if turn >= warm_up:
                took[name].append(seconds)
    for pipe in pipes.values():
        pipe.send(False)
    peaks = {name: pipe.recv() for name, pipe in pipes.items()}
    for process in processes:
        process.join()
    base = next(iter(sides))
    found = {}
    for name, times in took.items():
        ratios = [a / b for a, b in zip(times, took[base], strict=True)]
        found[name] = {
            "seconds": times,
            "peak_gb": peaks[name],
            "time_ratio": statistics.median(ratios),
            "time_ratio_quartiles": quartiles(ratios),
            "memory_ratio": peaks[name] / peaks[base],
        }
    return found


def report_apart(
    sides: Mapping[str, Builder], args: argparse.Namespace, more: Callable[[dict[str, dict]], dict] | None = None
) -> None:
    """Run :func:`in_turns_apart` as ``args`` says (rounds, device), print its table, and write it to ``args.json``.

    ``more``: further figures from the measured sides, which are printed and written too.
    """
    found = in_turns_apart(sides, args.rounds, device=args.device)
    print(table_apart(found))
    figures = more(found) if more else {}
    for name, figure in figures.items():
        print(f"{name.replace('_', ' ')}: {figure:.4g}")
    if args.json:
        settings = {key: value for key, value in vars(args).items() if key != "json"}
        text = json.dumps({"where": where(args.device), "settings": settings, "sides": found} | figures, indent=1)
        Path(args.json).write_text(text)


def _apart(pipe: Connection, build: Builder, device: str) -> None:
    cuda = device.startswith("cuda")
    with build() as run:
        while pipe.recv():
            start = time.perf_counter()
            run()
            if cuda:
                torch.cuda.synchronize()  # what it launched is still at work when it returns
            pipe.send(time.perf_counter() - start)
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    pipe.send((torch.cuda.max_memory_allocated() if cuda else rss) / 1e9)


def table_apart(found: Mapping[str, dict]) -> str:
    """The result of :func:`in_turns_apart` for people."""
    lines = [
        f"{'':<34}{'s (median)':>11}{'range':>15}{'peak GB':>9}{'time ratio':>12}{'quartiles':>12}{'memory ratio':>14}"
    ]
    for name, row in found.items():
        times = f"{min(row['seconds']):.3g}-{max(row['seconds']):.3g}"
        ratios = "-".join(f"{q:.2f}" for q in row["time_ratio_quartiles"])
        lines.append(
            f"{name:<34}{statistics.median(row['seconds']):>11.3g}{times:>15}{row['peak_gb']:>9.2f}"
            f"{row['time_ratio']:>12.3f}{ratios:>12}{row['memory_ratio']:>14.3f}"
        )
    return "\n".join(lines)


def quartiles(values: list[float]) -> list[float]:
    low, _, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return [low, high]


def table(found: Mapping[str, dict], base: str) -> str:
    """The result of :func:`in_turns` for people."""
    lines = [f"{'':<34}{'ms':>10}{'quartiles':>18}{'over ' + base:>16}{'quartiles':>16}"]
    for name, row in found.items():
        times = "-".join(f"{1e3 * t:.4g}" for t in row["seconds_quartiles"])
        ratios = "-".join(f"{r:.2f}" for r in row["ratio_quartiles"])
        lines.append(f"{name:<34}{1e3 * row['seconds']:>10.4g}{times:>18}{row['ratio']:>16.2f}{ratios:>16}")
    return "\n".join(lines)
