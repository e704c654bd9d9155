"""Optuna's samplers, set up for a sweep."""

from __future__ import annotations

from typing import Any

import optuna
import torch

# A model of fewer results than this says nothing.
RESULTS = 3


class _OneThreadGP(optuna.samplers.GPSampler):
    """Its matrices are too small for two threads, which wait for each other: 20 times slower on busy cores."""

    def sample_relative(self, *args: Any) -> dict[str, Any]:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return super().sample_relative(*args)
        finally:
            torch.set_num_threads(threads)


def make_sampler(method: str, seed: int) -> optuna.samplers.BaseSampler:
    """The sampler of a method ("tpe", "gp", or any other: points at random), also for several objectives.

    It takes running trials into account, so that those that run at once differ; with fewer than RESULTS results it
    draws at random.
    """
    if method == "tpe":
        # Multivariate for one objective and not for several, as Optuna has it by default.
        return optuna.samplers.TPESampler(seed=seed, n_startup_trials=RESULTS, constant_liar=True)
    if method == "gp":
        return _OneThreadGP(seed=seed, n_startup_trials=RESULTS)
    return optuna.samplers.RandomSampler(seed=seed)
