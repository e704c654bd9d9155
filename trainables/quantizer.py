"""Residual vector quantizer with EMA codes (van den Oord et al. 2017; Zeghidour et al. 2021, SoundStream)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainables.collective import global_sum, world
from trainables.noise import SampleNoise, mix


@dataclass(frozen=True, kw_only=True)
class QuantizerConfig:
    codes: int = 256  # K
    width: int = 128  # D
    quantizers: int = 3  # Q; the paper has 6
    decay: float = 0.99  # EMA of code sums and counts
    # A code whose EMA count falls below this x (rows in a batch) is reset to a row of the batch. The release
    # resets below 1 at 512 x 30 rows; taken per row, the policy means the same at every batch size.
    dead_below_per_row: float = 1 / (512 * 30)  # 0: codes are never reset
    shared: bool = False  # one codebook for all stages
    temperature: float = 0.5  # of stochastic selection in training
    quantizer_dropout: float = 0.2  # share of batches that run only the first stages


@dataclass
class Quantized:
    latent_BTD: Tensor  # sum of the selected codes, straight-through to the input
    index_BTQ: Tensor  # int64, -1 for stages that quantizer dropout left out
    commitment: Tensor  # mean squared distance to the selected codes, mean over the stages that ran


class ResidualQuantizer(nn.Module):
    """Q stages; each quantises what the stages before it left over.

    The whole EMA state is in buffers and so in the state dict: a resumed run continues bit for bit.
    """

    codes_QKD: Tensor
    sums_QKD: Tensor
    counts_QK: Tensor
    started: Tensor

    def __init__(self, config: QuantizerConfig) -> None:
        super().__init__()
        self.config = config
        shape = (1 if config.shared else config.quantizers, config.codes, config.width)
        self.register_buffer("codes_QKD", torch.zeros(shape))
        self.register_buffer("sums_QKD", torch.zeros(shape))
        self.register_buffer("counts_QK", torch.zeros(shape[:2]))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    @property
    def stages_QKD(self) -> Tensor:
        """The codes that each stage chooses from."""
        return self.codes_QKD.expand(self.config.quantizers, -1, -1)

    def embed(self, index_BTQ: Tensor) -> Tensor:
        """Latents (B,T,D) of code indices (B,T,Q): the sum over stages of the selected codes."""
        stage_Q = torch.arange(self.config.quantizers, device=index_BTQ.device)
        return self.stages_QKD[stage_Q, index_BTQ].sum(dim=-2)

    def expect(self, logits_BTQK: Tensor) -> Tensor:
        """Expected latents (B,T,D) under the categorical distributions given by logits."""
        # One product over stages and codes together.
        return logits_BTQK.softmax(dim=-1).flatten(-2) @ self.stages_QKD.reshape(-1, self.config.width)

    def forward(self, z_BTD: Tensor, noise: SampleNoise | None = None) -> Quantized:
        """Quantise. With `noise` (training) selection is stochastic and the codes move; without it, argmin."""
        config, (batch, frames, width) = self.config, z_BTD.shape
        starting = noise is not None and not bool(self.started)
        stages = config.quantizers
        if noise is not None and not starting and noise.batch_uniform() < config.quantizer_dropout:
            stages = noise.batch_integer(1, config.quantizers + 1)
        # No gradient passes through the choice of codes: the stages run on plain numbers, one buffer in place.
        residual_ND = z_BTD.detach().reshape(-1, width).clone()
        rows = len(residual_ND)
        pull_ND, distance = torch.zeros_like(residual_ND), residual_ND.new_zeros(())
        index_NQ = torch.full((rows, config.quantizers), -1, dtype=torch.int64, device=z_BTD.device)
        for stage in range(stages):
            row = 0 if config.shared else stage
            if noise is not None and starting and stage == row:
                self._reset(row, residual_ND, noise, torch.ones_like(self.counts_QK[row]) > 0)
            codes_KD = self.codes_QKD[row]
            # Squared L2 distance without |z|^2, which no comparison over codes needs.
            distance_NK = torch.addmm((codes_KD**2).sum(-1), residual_ND, codes_KD.T, alpha=-2.0)
            if noise is None:
                index_N = distance_NK.argmin(dim=-1)
            else:
                index_N = draw(
                    distance_NK.div_(-config.temperature), noise.uniform((frames,), z_BTD).view(rows)
                )
            index_NQ[:, stage] = index_N
            chosen_ND = codes_KD[index_N]
            if noise is not None:
                self._update(row, residual_ND, index_N, noise)
            residual_ND -= chosen_ND
            pull_ND += residual_ND
            distance += residual_ND.square().sum()
        if starting:
            self.started.fill_(True)
        count = global_sum(torch.tensor(float(rows * width), device=z_BTD.device)) * stages
        latent_BTD = z_BTD - residual_ND.view_as(z_BTD)
        # The mean over stages of |z - sum of the codes so far|^2 has the gradient 2 x the sum of what each stage left
        # over: given so, no stage's tensors wait for the backward pass.
        moved_BTD = z_BTD - z_BTD.detach()
        commitment = (distance + 2 * (pull_ND.view_as(z_BTD) * moved_BTD).sum()) / count
        return Quantized(latent_BTD, index_NQ.view(batch, frames, -1), commitment)

    @torch.no_grad()
    def _update(self, row: int, residual_ND: Tensor, index_N: Tensor, noise: SampleNoise) -> None:
        """EMA of code sums and counts over the global batch; codes that died are reset."""
        decay = self.config.decay
        sums_KD = torch.zeros_like(self.sums_QKD[row]).index_add_(0, index_N, residual_ND)
        counts_K = torch.bincount(index_N, minlength=self.config.codes).to(residual_ND.dtype)
        both = global_sum(torch.cat([sums_KD, counts_K[:, None]], dim=1))
        self.sums_QKD[row].lerp_(both[:, :-1], 1 - decay)
        self.counts_QK[row].lerp_(both[:, -1], 1 - decay)
        # A code that is not chosen stays where it is, also when sum and count have both decayed to nothing.
        counts_K1 = self.counts_QK[row, :, None]
        moved_KD = self.sums_QKD[row] / counts_K1.clamp_min(1e-12)
        self.codes_QKD[row] = torch.where(counts_K1 > 1e-12, moved_KD, self.codes_QKD[row])
        dead_below = self.config.dead_below_per_row * residual_ND.shape[0] * world()[1]
        self._reset(row, residual_ND, noise, self.counts_QK[row] < dead_below)

    @torch.no_grad()
    def _reset(self, row: int, residual_ND: Tensor, noise: SampleNoise, which_K: Tensor) -> None:
        """Set the codes `which_K` to rows of the global batch, with count 1.

        Code k takes row (offset + k * stride) of the flattened batch, jittered by 0.01 / sqrt(D), so that codes
        stay apart where the batch has fewer rows than there are codes.
        """
        rank, ranks = world()
        rows, width = residual_ND.shape
        codes, device = self.config.codes, residual_ND.device
        total, first = rows * ranks, rank * rows
        stride = max(total // codes, 1)
        offset = mix(noise.seed, noise.step, row, -3) % total
        at_K = (offset + torch.arange(codes, device=device) * stride) % total
        mine_K = (at_K >= first) & (at_K < first + rows)
        picked_KD = torch.where(mine_K[:, None], residual_ND[(at_K - first).clamp(0, rows - 1)], 0.0)
        generator = torch.Generator(device=device).manual_seed(mix(noise.seed, noise.step, row, -4))
        jitter = torch.randn(codes, width, generator=generator, device=device) * (0.01 / width**0.5)
        picked_KD = global_sum(picked_KD) + jitter.to(picked_KD.dtype)
        which = which_K[:, None]
        self.codes_QKD[row] = torch.where(which, picked_KD, self.codes_QKD[row])
        self.sums_QKD[row] = torch.where(which, picked_KD, self.sums_QKD[row])
        self.counts_QK[row] = torch.where(which_K, 1.0, self.counts_QK[row])


def draw(logits_NK: Tensor, uniform_N: Tensor) -> Tensor:
    """One index (N,) from each categorical distribution, by its inverse cumulative distribution.

    The release adds Gumbel noise to every logit and takes the largest: the same distribution for K draws a row, where
    this takes one.
    """
    cumulative_NK = logits_NK.softmax(dim=-1).cumsum(dim=-1)
    # The last sum is 1 but for rounding; scaling the draw by it keeps the index below K.
    wanted_N1 = uniform_N[:, None] * cumulative_NK[:, -1:]
    return torch.searchsorted(cumulative_NK, wanted_N1, right=True)[:, 0].clamp_max_(logits_NK.shape[1] - 1)
