"""Champions and candidates whose true difference is known, to see how often the gate errs.

The error of a model on a clip is the clip's difficulty, plus what this model makes of the clip's group, plus what it
makes of the clip. So two models differ more between groups than within, and all candidates of one champion have the
champion's luck in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zoo.gate import Verdict, decide

MPJPE_CM = 3.0


@dataclass(frozen=True, kw_only=True)
class World:
    """Where models are compared: how many held-out groups and clips, and how much two models differ by luck."""

    groups: int = 12
    clips_per_group: int = 8
    group_cm: float = 0.10  # standard deviation of a model's error from group to group, beyond difficulty
    clip_cm: float = 0.20  # and from clip to clip
    heavy_tails: bool = False
    unequal: bool = False  # groups of 1 to 3 times `clips_per_group` clips, and one of 6 times

    def drawn(self, rng: np.random.Generator) -> Gate:
        sizes = np.full(self.groups, self.clips_per_group)
        if self.unequal:
            sizes = sizes * np.append(rng.integers(1, 4, self.groups - 1), 6)
        return Gate(self, rng, np.repeat(np.arange(self.groups), sizes))


class Gate:
    """One gate part: clips with their difficulty, on which any number of models may be scored."""

    def __init__(self, world: World, rng: np.random.Generator, group_N: np.ndarray) -> None:
        self.world, self.rng, self.group_N = world, rng, group_N
        clips = len(group_N)
        self.difficulty_N = MPJPE_CM * rng.lognormal(-0.045, 0.3, world.groups)[group_N]
        self.windows_N = rng.integers(10, 31, clips)

    def model(self, better: float = 0.0) -> tuple[dict, dict]:
        """config.json and metrics.json of a model that is better by this share of MPJPE_CM."""
        luck_G = self._noise(self.world.groups) * self.world.group_cm
        luck_N = self._noise(len(self.group_N)) * self.world.clip_cm
        error_N = self.difficulty_N - better * MPJPE_CM + luck_G[self.group_N] + luck_N
        clips = [
            {"clip": str(i), "group": str(group), "mpjpe_cm": max(0.0, float(error)), "windows": int(windows)}
            for i, (group, error, windows) in enumerate(
                zip(self.group_N, error_N, self.windows_N, strict=True)
            )
        ]
        conditions = {
            "data_digest": "d",
            "setting": "objects",
            "mode": "forecast",
            "protocol": "first",
            "window": 30,
        }
        return {"model": conditions}, {"metric_version": 1, "gate": {"clips": clips}}

    def _noise(self, count: int) -> np.ndarray:
        if self.world.heavy_tails:
            return self.rng.standard_t(3, count) / np.sqrt(3)
        return self.rng.normal(size=count)


def any_promoted(world: World, *, candidates: int, trials: int, seed: int, corrected: bool) -> float:
    """Share of champions that are replaced by one of the candidates, none of which is better.

    The minimum effect is off, so that the correction stands alone.
    """
    rng = np.random.default_rng(seed)
    replaced = 0
    for _ in range(trials):
        gate = world.drawn(rng)
        champion = gate.model()
        replaced += any(
            decide(gate.model(), champion, look=look if corrected else 1, min_effect_cm=0.0).passed
            for look in range(1, candidates + 1)
        )
    return replaced / trials


def power(world: World, *, better: float, look: int, trials: int, seed: int) -> float:
    """Share of candidates, better by this share, that replace the champion at this look, with all of the gate's rules."""
    rng = np.random.default_rng(seed)
    return sum(_verdict(world, rng, better, look).passed for _ in range(trials)) / trials


def _verdict(world: World, rng: np.random.Generator, better: float, look: int) -> Verdict:
    gate = world.drawn(rng)
    return decide(gate.model(better), gate.model(), look=look)
