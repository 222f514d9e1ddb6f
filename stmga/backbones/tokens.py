"""Tokens of a vision transformer as a map."""

from typing import Any

from einops import rearrange
from torch import Tensor, nn

IN_FRONT = 16  # most class and register tokens that a transformer puts in front of those of the patches


class TokenMap(nn.Module):
    """(n 3 h w) -> (n c h' w'): the patch tokens of a vision transformer, put back on their grid.

    Tokens in front of the grid's, such as class and register tokens, are dropped.

    Args:
        vit: frames (n 3 h w) -> tokens (n l c), row by row. A tuple with one such tensor will do, and so will an object
            with ``last_hidden_state``, as transformers' models return.
        grid: rows and columns of the patches: (16, 8) for patches of 16 and frames of 256 x 128.
        in_front: tokens before those of the patches; None takes what is there, up to 16.

    Raises:
        ValueError: a grid of fewer than one row or column; in ``forward``, tokens that do not fit the grid.
        TypeError: ``vit`` is not a module; in ``forward``, it gives no tokens.

    Example:
        >>> import torch
        >>> class Patches(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.embed = nn.Conv2d(3, 64, 16, stride=16)
        ...
        ...     def forward(self, x):
        ...         return self.embed(x).flatten(2).transpose(1, 2)  # n l c
        >>> TokenMap(Patches(), grid=(16, 8))(torch.rand(2, 3, 256, 128)).shape
        torch.Size([2, 64, 16, 8])
    """

    def __init__(self, vit: nn.Module, grid: tuple[int, int], *, in_front: int | None = None) -> None:
        super().__init__()
        if not isinstance(vit, nn.Module):
            raise TypeError(f"TokenMap takes a torch.nn.Module that gives tokens, got {type(vit).__name__}")
        if len(grid) != 2 or min(grid) < 1:
            raise ValueError(f"grid is (rows, columns) of patches, as (16, 8), got {grid!r}")
        self.vit = vit
        self.grid = (int(grid[0]), int(grid[1]))
        self.in_front = in_front

    def forward(self, frames: Tensor) -> Tensor:
        tokens = _tokens(self.vit(frames))
        rows, columns = self.grid
        front = tokens.shape[1] - rows * columns
        if not (0 <= front <= IN_FRONT if self.in_front is None else front == self.in_front):
            before = f"up to {IN_FRONT}" if self.in_front is None else self.in_front
            raise ValueError(
                f"{tokens.shape[1]} tokens for frames of {frames.shape[-2]} x {frames.shape[-1]} do not fit the grid "
                f"{rows} x {columns}: expected {rows * columns} and {before} in front. Give "
                "grid=(height / patch, width / patch), and position embeddings of this grid"
            )
        return rearrange(tokens[:, front:], "n (h w) c -> n c h w", h=rows)

    def extra_repr(self) -> str:
        return f"grid={self.grid}"


def _tokens(found: Any) -> Tensor:
    """The tokens (n l c) in what a transformer returns."""
    found = getattr(found, "last_hidden_state", found)
    every = found if isinstance(found, (tuple, list)) else [found]
    tokens = [t for t in every if isinstance(t, Tensor) and t.ndim == 3]
    if len(tokens) != 1:
        shapes = ", ".join(str(tuple(t.shape)) if isinstance(t, Tensor) else type(t).__name__ for t in every)
        raise TypeError(
            f"expected tokens (n, l, c), got {shapes}; return the tokens of all patches, before pooling (in timm "
            'global_pool="" and num_classes=0)'
        )
    return tokens[0]
