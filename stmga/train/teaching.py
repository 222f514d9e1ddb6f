"""The loss of distillation: the student's vectors learn to point where the teacher's do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOMENTUM = 0.99  # of the mean over batches


class TeacherLoss(nn.Module):
    """(b c) features, (b d) taught -> mean over the batch of 1 - cos(x_i, R^T A^T y_i), from 0 to 2.

    Not in the paper. The cosine of two vectors needs both in one space. ``A`` (d k) are the teacher's k main directions
    (:meth:`stmga.train.Teacher.directions`). ``R`` (k c) is the rotation that brings the teacher's vectors nearest to
    the student's, from Schonemann, A Generalized Solution of the Orthogonal Procrustes Problem, Psychometrika 1966:

        R = U V^T        U S V^T: the SVD of the moving mean over batches of (A^T y) x^T

    A rotation changes no cosine, so the student learns the teacher's similarities, from the nearest vectors that have
    them. x and A^T y have unit length. Neither R nor the teacher gets a gradient.

    Args:
        directions: A, (d k) with orthonormal columns.
        dim: c, of the student's vectors; at least k.

    Raises:
        ValueError: k is above c; in ``forward``, shapes that do not match.

    >>> loss = TeacherLoss(torch.eye(2), dim=2)
    >>> turned = torch.tensor([[0.0, 1], [-1, 0]])  # the rows of the identity, turned by 90 degrees
    >>> float(loss(turned, torch.eye(2)))
    0.0
    """

    directions: Tensor
    covariance: Tensor

    def __init__(self, directions: Tensor, dim: int) -> None:
        super().__init__()
        if directions.ndim != 2 or directions.shape[1] > dim:
            raise ValueError(f"expected directions (d, k) with k at most {dim}, got {tuple(directions.shape)}")
        self.register_buffer("directions", directions)
        self.register_buffer("covariance", directions.new_zeros(directions.shape[1], dim))

    def forward(self, features: Tensor, taught: Tensor) -> Tensor:
        (d, _), (_, c) = self.directions.shape, self.covariance.shape
        if features.shape != (len(taught), c) or taught.shape[1:] != (d,):
            raise ValueError(
                f"expected features (b, {c}) and taught (b, {d}), got {tuple(features.shape)} and {tuple(taught.shape)}"
            )
        student = F.normalize(features.float(), dim=1)
        teacher = F.normalize(taught.detach().float() @ self.directions, dim=1)
        return 1 - (student * (teacher @ self._rotation(student.detach(), teacher))).sum(1).mean()

    @torch.no_grad()
    def _rotation(self, student: Tensor, teacher: Tensor) -> Tensor:
        """R (k c), after this batch; an SVD of 256 x 256 takes 11 ms on a CPU core."""
        if self.training:
            self.covariance.lerp_(teacher.T @ student / len(student), 1 - MOMENTUM)
        u, _, vt = torch.linalg.svd(self.covariance, full_matrices=False)
        return u @ vt
