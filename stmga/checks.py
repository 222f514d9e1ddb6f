"""What a network must be, and what it takes: the errors of a wrong one."""

import torch
from torch import Tensor


def wrong_network(model: object) -> str:
    """What came in place of a network; of what is wrapped, what to give instead.

    >>> wrong_network(torch.nn.DataParallel(torch.nn.ReLU()))
    'got DataParallel; give the network inside, model.module'
    """
    return f"got {type(model).__name__}" + (
        "; give the network inside, model.module" if hasattr(model, "module") else ""
    )


def check_clips(clips: Tensor, weights: torch.dtype) -> None:
    """Raise TypeError or ValueError unless a network with weights of this type can take the clips."""
    if not isinstance(clips, Tensor):
        raise TypeError(
            f"expected a tensor of RGB clips (b, t, 3, h, w), got {type(clips).__name__}; "
            "model.transform(frames)[None] makes a clip of frames"
        )
    if clips.ndim != 5 or clips.shape[2] != 3:
        raise ValueError(
            f"expected RGB clips (b, t, 3, h, w), got shape {tuple(clips.shape)}"
            + ("; one clip goes in as clip[None]" if clips.ndim == 4 else "")
        )
    if 0 in clips.shape:
        raise ValueError(f"expected at least one clip of one frame, got shape {tuple(clips.shape)}")
    if not clips.is_floating_point():
        raise TypeError(f"expected floating point clips as ClipTransform gives them, got {clips.dtype}")
    if not weights.is_floating_point:
        raise TypeError(f"the network's weights are {weights}; load floating point weights")
    if clips.dtype != weights and not torch.is_autocast_enabled(clips.device.type):
        raise TypeError(f"the clips are {clips.dtype}, the network {weights}: convert one of them")
