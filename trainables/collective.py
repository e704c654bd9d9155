"""The three collectives that training needs, each the identity in a single process, and the network they go over."""

from __future__ import annotations

import os
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


def talk_over(address: str) -> None:
    """Have gloo use the network interface that has this address of the host; to be called before it starts.

    By itself it takes the address that the host's own name leads to. On Debian that is 127.0.1.1, and ranks on two hosts
    wait for each other for ever. Where the user has named an interface, or none has the address, nothing is changed.
    """
    import psutil

    for name, addresses in psutil.net_if_addrs().items():
        if any(each.address == address for each in addresses):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
            return
