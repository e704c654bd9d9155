"""Use of codes against counting by hand."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from trainables.code_use import LIVE_SHARE, code_use, use_of_counts


def test_uniform_and_constant_indices() -> None:
    uniform = torch.arange(8).repeat(4)[:, None]
    use = code_use(torch.cat([uniform, torch.zeros_like(uniform)], dim=1).view(4, 8, 2), 8)
    torch.testing.assert_close(use.perplexity_Q, torch.tensor([8.0, 1.0], dtype=torch.float64))
    torch.testing.assert_close(use.live_Q, torch.tensor([1.0, 1 / 8], dtype=torch.float64))
    assert use.counts_QK.tolist() == [[4] * 8, [32, *[0] * 7]]


def test_batches_and_dropped_stages_equal_a_count_by_hand() -> None:
    g = torch.Generator().manual_seed(0)
    index_BTQ = torch.randint(0, 16, (10, 7, 3), generator=g) // 3
    index_BTQ[4:6, :, 2] = -1
    use = code_use((part for part in index_BTQ.split(3)), 16)
    for q in range(3):
        counted = Counter(i for i in index_BTQ[..., q].flatten().tolist() if i >= 0)
        total = sum(counted.values())
        entropy = -sum(n / total * math.log(n / total) for n in counted.values())
        assert float(use.perplexity_Q[q]) == pytest.approx(math.exp(entropy), rel=1e-12)
        assert float(use.live_Q[q]) == len(counted) / 16
        assert use.counts_QK[q].tolist() == [counted[k] for k in range(16)]
    torch.testing.assert_close(code_use(index_BTQ, 16).perplexity_Q, use.perplexity_Q)


def test_a_stray_frame_keeps_no_code_alive() -> None:
    frames = int(10 / LIVE_SHARE)
    counts_QK = torch.tensor([[frames - 19, 10, 9, 0]])  # exactly the share, and just below
    assert float(use_of_counts(counts_QK).live_Q) == 2 / 4


def test_nothing_given() -> None:
    with pytest.raises(ValueError, match="at least one batch"):
        code_use([], 8)
    use = code_use(torch.full((2, 3, 1), -1), 8)
    assert use.perplexity_Q.isnan().all() and float(use.live_Q) == 0
