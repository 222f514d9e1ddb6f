"""One process or many: the rank of this one, and collective operations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """The rank of this process among those that work together; a single process is ``World()``."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0


@contextmanager
def process_group(device: str | torch.device | None = None) -> Iterator[World]:
    """Join the processes that ``torchrun`` started; without it, this is the only one.

    ``device`` None is the GPU if there is one; of several, the one with this process's local rank.
    """
    size, local = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("LOCAL_RANK", "0"))
    place = torch.device(device if device is not None else "cuda" if torch.cuda.is_available() else "cpu")
    if place.type == "cuda":
        if place.index is not None and size > 1:
            raise ValueError(f"{size} processes cannot share {place}; say cuda, and each takes the one of its number")
        place = torch.device("cuda", local if place.index is None else place.index)
        torch.cuda.set_device(place)
    if size == 1 or dist.is_initialized():
        yield World(dist.get_rank(), dist.get_world_size(), place) if dist.is_initialized() else World(device=place)
        return
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()


def distributed(module: nn.Module, world: World) -> nn.Module:
    """The module in DistributedDataParallel if there are other processes, else unchanged."""
    if world.size == 1:
        return module
    devices = [world.device] if world.device.type == "cuda" else None
    return DistributedDataParallel(module, device_ids=devices, gradient_as_bucket_view=True)


def is_distributed() -> bool:
    """Whether there are other processes."""
    return dist.is_initialized() and dist.get_world_size() > 1


def all_gather_grad(x: Tensor) -> Tensor:
    """(b ...) of each process -> (world b ...) of all, in order of rank, with gradients to every process's rows."""
    return _all_gather_grad(x) if is_distributed() else x


@torch.compiler.disable  # the compiler does not support this collective
def _all_gather_grad(x: Tensor) -> Tensor:
    rows: Tensor = _Gather.apply(x)
    return rows


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        # The loss of every process has a gradient for these rows. They are summed; DDP then divides by the world size.
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def all_reduce_any(flags: Tensor) -> Tensor:
    """(n) bools of each process -> True where any process has True."""
    if is_distributed():
        flags = flags.to(torch.int32)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return flags.bool()


def mean_of(values: Tensor) -> Tensor:
    """Numbers of each process -> their mean over the processes."""
    if is_distributed():
        dist.all_reduce(values)
        values = values / dist.get_world_size()
    return values


def all_gather_objects(item: Any) -> list[Any]:
    """A plain object of each process -> the objects of all, in order of rank."""
    if not is_distributed():
        return [item]
    items: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(items, item)
    return items


def shared_buffers(module: nn.Module) -> None:
    """Give every process the main one's buffers (running statistics), as DistributedDataParallel does before a step."""
    if is_distributed():
        for buffer in module.buffers():
            dist.broadcast(buffer, 0)
