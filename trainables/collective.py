"""The three collectives that training needs; each is the identity in a single process."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> tuple[int, int]:
    """(rank, number of ranks)."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def global_sum(x: Tensor) -> Tensor:
    """Sum over ranks of a tensor without gradient."""
    if world()[1] > 1:
        x = x.detach().clone()
        dist.all_reduce(x)
    return x


def sum_gradients(parameters: Iterable[Tensor]) -> None:
    """Sum gradients over ranks, in one flat message.

    A sum and not a mean: every loss here divides by a global count, so the ranks' gradients add up to the
    gradient of the whole batch whatever the masks are. A rank whose share needs some parameter not at all (none of
    its images is known) sends zeros for it; a parameter that no rank needs keeps no gradient, as in one process.
    """
    if world()[1] == 1:
        return
    parameters = list(parameters)
    needed = [float(p.grad is not None) for p in parameters]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(g.reshape(-1) for g in gradients), gradients[0].new_tensor(needed)])
    dist.all_reduce(flat)
    *sums, count = flat.split([*(g.numel() for g in gradients), len(needed)])
    for parameter, part, ranks in zip(parameters, sums, count.tolist(), strict=True):
        parameter.grad = part.view_as(parameter) if ranks else None
