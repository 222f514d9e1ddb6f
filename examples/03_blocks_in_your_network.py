"""The blocks of the paper in somebody else's network, and one training step.

The blocks take any number of channels, frames and parts, and any map size. They do not depend on the rest of stmga.
"""

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from stmga import CPA, LSTA, MAPA, MGA
from stmga.blocks import CPASupervision

torch.manual_seed(0)


class MyNetwork(nn.Module):
    """(b t 3 h w) -> (b c): a small trunk of one's own, four consistent parts, two temporal extents."""

    def __init__(self, dim: int = 48) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, dim, 7, stride=4, padding=3), nn.BatchNorm2d(dim), nn.ReLU(),
            nn.Conv2d(dim, dim, 3, stride=2, padding=1), nn.BatchNorm2d(dim), nn.ReLU(),
        )  # fmt: skip
        self.attend = CPA(dim, parts=4)  # where each part is, in every frame
        self.parts = MAPA(scales=(1, 2, 4))  # 1 + 2 + 4 parts from these four
        self.temporal = LSTA(dim, scales=(1, 3), conv="depthwise")  # each part as it is, and over three frames
        self.over_time = MGA(dim, counts=(None, None))  # one set of frames for each temporal scale
        self.over_parts = MGA(dim, counts=(1, 2, 4))  # one set of parts for each spatial scale

    def forward(self, clips: Tensor) -> tuple[Tensor, CPASupervision]:
        """The embedding, and what the losses of the attention need; `self.attend(x)` alone is enough to embed."""
        x = self.trunk(rearrange(clips, "b t c h w -> (b t) c h w"))
        x = rearrange(x, "(b t) c h w -> b t c h w", b=len(clips))
        seen = self.attend.supervise(x)
        parts = self.temporal(self.parts(x, seen.part_attention))  # b n s t c
        sets = rearrange(parts, "b n s t c -> s (b n) t c").unbind()
        each = rearrange(self.over_time(sets), "(b n) c -> b n c", b=len(clips))
        return self.over_parts(each.split((1, 2, 4), dim=1)), seen


clips, persons = torch.rand(6, 5, 3, 64, 32), torch.tensor([0, 0, 1, 1, 2, 2])
clips = 0.3 * clips + 0.3 * persons.view(-1, 1, 1, 1, 1)  # three "persons" of unequal brightness


def sharing(seen: CPASupervision) -> Tensor:
    """The parts add up to the whole attention, and each has an equal share of it (eq. 4)."""
    parts, whole = seen.part_attention, seen.residual.detach()  # detached: the parts follow the whole, not it them
    add_up = (parts.sum(2, keepdim=True) - whole).abs().mean()
    share = (parts.mean((-2, -1)) - whole.mean((-2, -1)) / parts.shape[2]).abs().sum(2).mean()
    return add_up + share


model, whose, whose_whole, tell = MyNetwork(), nn.Linear(48, 3), nn.Linear(48, 3), nn.Linear(48, 4)
learned = nn.ModuleList([model, whose, whose_whole, tell]).parameters()
which_part = torch.arange(4).repeat(len(clips))
optimizer = torch.optim.AdamW(learned, lr=1e-3)
losses = []
for _ in range(12):
    embedding, seen = model(clips)
    loss = (
        F.cross_entropy(whose(embedding), persons)
        + F.cross_entropy(whose_whole(seen.pooled_global), persons)  # the whole attention finds the person ...
        + sharing(seen)  # ... the parts divide it among them ...
        + 0.1 * F.cross_entropy(tell(seen.pooled_parts).flatten(0, 1), which_part)  # ... and each is recognisable
    )
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())

print("embedding", tuple(embedding.shape), "attention", tuple(seen.part_attention.shape))
print("loss", " -> ".join(f"{value:.2f}" for value in losses))
assert losses[-1] < losses[0]
assert all(p.grad is not None for p in model.parameters()), "every parameter of every block learns"
