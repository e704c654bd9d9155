"""How much of a codebook is in use: perplexity and share of live codes of each quantizer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

# A code that fewer than one frame in 10,000 selects is as good as lost: it carries next to nothing, and a single
# stray frame would otherwise count it as living.
LIVE_SHARE = 1e-4


@dataclass(frozen=True, kw_only=True)
class CodeUse:
    """Use of Q codebooks of K codes over the given frames, on the indices' device.

    perplexity_Q: exp of the entropy of code use (van den Oord et al. 2017), float64; K where all codes are used
        alike, 1 where one alone is, NaN where no frame was given.
    live_Q: share of the K codes that at least `LIVE_SHARE` of the frames select, float64.
    counts_QK: frames that select each code, int64.
    """

    perplexity_Q: Tensor
    live_Q: Tensor
    counts_QK: Tensor


def code_use(index_BTQ: Tensor | Iterable[Tensor], codes: int) -> CodeUse:
    """Use of the codes over indices (..., Q), or over an iterable of such, of which one at a time is held.

    Indices of -1 (stages that quantizer dropout left out) count for nothing. Meant for nearest-code indices, as
    evaluation mode gives: those of stochastic selection flatter. Raises ValueError where the iterable is empty.
    """
    counts_QK: Tensor | None = None
    for batch_BTQ in [index_BTQ] if isinstance(index_BTQ, Tensor) else index_BTQ:
        flat_NQ = batch_BTQ.reshape(-1, batch_BTQ.shape[-1])
        Q = flat_NQ.shape[1]
        if counts_QK is None:
            counts_QK = torch.zeros(Q, codes, dtype=torch.int64, device=flat_NQ.device)
        # scatter_add and not bincount, which asks the device for its maximum and so waits for it.
        counts_QK.scatter_add_(1, flat_NQ.T.clamp_min(0), (flat_NQ.T >= 0).long())
    if counts_QK is None:
        raise ValueError("no code indices were given; use of codes is measured over at least one batch")
    return use_of_counts(counts_QK)


def use_of_counts(counts_QK: Tensor) -> CodeUse:
    """The same from counts of frames, such as the sums of several processes' counts."""
    frames_Q1 = counts_QK.sum(dim=-1, keepdim=True)
    share_QK = counts_QK.double() / frames_Q1
    entropy_Q = -torch.xlogy(share_QK, share_QK).sum(dim=-1)
    live_QK = (counts_QK > 0) & (counts_QK >= LIVE_SHARE * frames_Q1.double())
    return CodeUse(perplexity_Q=entropy_Q.exp(), live_Q=live_QK.double().mean(dim=-1), counts_QK=counts_QK)
