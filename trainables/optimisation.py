"""The loop that trains one stage: shuffled windows, AdamW, averaged weights, resumable at every epoch."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainables.collective import global_sum, sum_gradients, world
from trainables.noise import CELL, SampleNoise, mix
from trainables.windows import Batch, Windows

SCHEDULES = ("constant", "cosine")


@dataclass(frozen=True, kw_only=True)
class OptimisationConfig:
    epochs: int
    batch: int = 64  # windows a step over all ranks
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warmup_steps: int = 20
    weight_decay: float = 0.01
    clip_norm: float = 1.0
    # EMA of weights used for evaluation; 0 = off. With it a constant learning rate needs no decay, so that a longer
    # budget continues a shorter one.
    average: float = 0.99


class StageRun:
    """One stage being trained.

    Args:
        name: of the stage, first word of its keys in a checkpoint.
        module: what is trained.
        loss: (module, batch, noise) -> loss, divided by global counts (see losses.py).
        score: averaged module -> (figure to minimise, metrics) on validation windows, after each epoch. The weights
            of the best epoch are kept.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        windows: Windows,
        config: OptimisationConfig,
        seed: int,
        *,
        loss: Callable[[Any, Batch, SampleNoise], Tensor],
        score: Callable[[Any], tuple[float, dict[str, float]]],
    ) -> None:
        self.name, self.module, self.windows, self.config, self.seed = name, module, windows, config, seed
        self.loss, self.score = loss, score
        self.rank, self.ranks = world()
        share = CELL * self.ranks
        self.batch = min(config.batch, len(windows)) // share * share
        if self.batch == 0:
            raise ValueError(
                f"{len(windows)} training windows in batches of {config.batch} cannot be shared by {self.ranks} "
                f"workers in cells of {CELL}: use fewer workers or a larger batch"
            )
        self.parameters = list(module.parameters())
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
            foreach=True,
        )
        # State exists from the start, so that a checkpoint always has the same keys.
        for parameter in self.parameters:
            self.optimiser.state[parameter] = {
                "step": torch.tensor(0.0),
                "exp_avg": torch.zeros_like(parameter),
                "exp_avg_sq": torch.zeros_like(parameter),
            }
        self.averaged = copy.deepcopy(module)
        self.best = {key: value.clone() for key, value in module.state_dict().items()}
        self.best_score = float("inf")
        self.best_metrics: dict[str, float] = {}
        self.epoch = 0
        self.step = 0

    @property
    def steps_per_epoch(self) -> int:
        return len(self.windows) // self.batch

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and numbers from which `load_state` continues bit for bit."""
        tensors = {f"{self.name}.module.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"{self.name}.averaged.{k}": v for k, v in self.averaged.state_dict().items()}
        tensors |= {f"{self.name}.best.{k}": v for k, v in self.best.items()}
        for i, parameter in enumerate(self.parameters):
            for key, value in self.optimiser.state[parameter].items():
                tensors[f"{self.name}.adamw.{i}.{key}"] = value
        numbers = {"epoch": self.epoch, "step": self.step}
        return tensors, numbers | {"best_score": self.best_score, "best_metrics": self.best_metrics}

    def load_state(self, tensors: dict[str, Tensor], numbers: dict[str, Any]) -> None:
        def part(kind: str) -> dict[str, Tensor]:
            prefix = f"{self.name}.{kind}."
            return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

        self.module.load_state_dict(part("module"))
        self.averaged.load_state_dict(part("averaged"))
        for key, value in part("best").items():
            self.best[key].copy_(value)
        for i, parameter in enumerate(self.parameters):
            for key, value in self.optimiser.state[parameter].items():
                value.copy_(tensors[f"{self.name}.adamw.{i}.{key}"])
        self.epoch, self.step = int(numbers["epoch"]), int(numbers["step"])
        self.best_score, self.best_metrics = numbers["best_score"], numbers["best_metrics"]

    def run(self) -> Iterator[dict[str, float]]:
        """Train to the end of the budget, yielding metrics after each epoch. The module ends with its best weights."""
        while self.epoch < self.config.epochs:
            started = time.perf_counter()
            loss = self._train_epoch()
            self.epoch += 1
            self.averaged.eval()
            with torch.no_grad():
                figure, metrics = self.score(self.averaged)
            if figure < self.best_score:
                self.best_score, self.best_metrics = figure, metrics
                for key, value in self.averaged.state_dict().items():
                    self.best[key].copy_(value)
            seconds = time.perf_counter() - started
            yield {"loss": loss, "epoch": self.epoch, "step": self.step, "seconds": seconds, **metrics}
        self.module.load_state_dict(self.best)
        self.module.eval()

    def _train_epoch(self) -> float:
        generator = torch.Generator().manual_seed(mix(self.seed, self.epoch, -5))
        order_N = torch.randperm(len(self.windows), generator=generator)
        share = self.batch // self.ranks
        total = torch.zeros((), dtype=torch.float64)
        self.module.train()
        for i in range(self.steps_per_epoch):
            first = self.rank * share
            batch = self.windows.gather(order_N[i * self.batch + first : i * self.batch + first + share])
            loss = self.loss(self.module, batch, SampleNoise(self.seed, self.step, first, share))
            self._update(loss)
            total += loss.detach().double().cpu()
        return float(global_sum(total)) / self.steps_per_epoch

    def learning_rate(self) -> float:
        """Of the next step: linear warm-up, then constant, or half a cosine down to zero at the last step."""
        config = self.config
        rate = config.learning_rate * min(1.0, (self.step + 1) / max(config.warmup_steps, 1))
        if config.schedule == "cosine":
            rate *= 0.5 * (1 + math.cos(math.pi * self.step / (config.epochs * self.steps_per_epoch)))
        return rate

    def _update(self, loss: Tensor) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate()
        self.optimiser.zero_grad()
        loss.backward()
        sum_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.config.clip_norm)
        self.optimiser.step()
        self.step += 1
        self._average()

    @torch.no_grad()
    def _average(self) -> None:
        # The usual warm-up of the decay: early averages forget the initial weights quickly.
        decay = min(self.config.average, (1 + self.step) / (10 + self.step)) if self.config.average else 0.0
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.module.parameters()), 1 - decay)
        for average, buffer in zip(self.averaged.buffers(), self.module.buffers(), strict=True):
            average.copy_(buffer)
