"""What early stopping saves, and what it costs: simulated sweeps under every stopper.

    python -m tests.benchmarks.stopping_savings                    # 200 seeds, about two minutes on one core
    python -m tests.benchmarks.stopping_savings --seeds 20

Training is simulated, the stoppers are those of a sweep. A trial's validation MPJPE is a noisy power law of the epoch,
a + b t^-c, with an a that falls with the size of the network and rises with how far its other hyperparameters are from
good ones. In `shuffled` sweeps c has nothing to do with size (a random search); in `ascending` ones networks come from
small to large and the large ones start slowly (a grid in its worst order). Columns, mean and deviation over seeds:

    epochs   spent, of those that all trials together have
    recall   share of the true Pareto front (of all trials trained to their end) that was trained to its end
    wrong    share of all true-front trials, over all seeds, that were stopped
    best     how much worse (%) the best MPJPE of a finished trial is than the best of all
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from sweeps.ledger import TrialRecord
from sweeps.pareto import front
from sweeps.plan import STOPPINGS
from sweeps.space import OBJECTIVES, Objective
from sweeps.stopping import make_stopper
from tests.tune_trials import NOBODY

TRIALS, EPOCHS, SLOTS = 32, 24, 4
SIZES = 16
NOISE = 0.01  # of a validation figure, relative
CLOCK_NOISE = 0.02  # of a measured latency, relative


@dataclass(frozen=True)
class Training:
    """What one trial would report if nobody stopped it."""

    identity: str
    mpjpe_cm: npt.NDArray[np.float64]  # after every epoch
    contact_f1: npt.NDArray[np.float64]
    parameters: int
    latency_ms: float  # the true one

    def results(self, measured_ms: float) -> list[dict[str, Any]]:
        """What Tune is told after every epoch."""
        results = []
        for epoch in range(1, len(self.mpjpe_cm) + 1):
            best = int(np.argmin(self.mpjpe_cm[:epoch]))
            results.append(
                {
                    "predictor_epoch": epoch,
                    "mpjpe_cm": float(self.mpjpe_cm[best]),
                    "contact_f1": float(self.contact_f1[best]),
                    "parameters": self.parameters,
                    "latency_ms": measured_ms,
                    "curve": list(enumerate(self.mpjpe_cm[:epoch].tolist(), 1)),
                }
            )
        return results

    def record(self) -> TrialRecord:
        """Its figures when it has been trained to the end."""
        end = self.results(self.latency_ms)[-1]
        metrics = {name: float(end[name]) for name in OBJECTIVES}
        return TrialRecord(
            self.identity, "objects", "search", {}, status="finished", epochs=len(self.mpjpe_cm),
            metrics=metrics, curve=end["curve"],
        )  # fmt: skip


def draw(
    rng: np.random.Generator, *, trials: int = TRIALS, epochs: int = EPOCHS, ascending: bool = False
) -> list[Training]:
    """Trials in the order in which a sweep begins them."""
    size_N = rng.integers(SIZES, size=trials) / (SIZES - 1)
    speed_N = rng.uniform(0.5, 1.2, trials)
    if ascending:
        size_N = np.sort(size_N)
        speed_N = 1.2 - 0.8 * size_N + rng.normal(0, 0.05, trials)
    end_N = 5 * (1 + 0.35 * (1 - size_N) ** 2) * np.exp(0.12 * np.abs(rng.normal(size=trials)))
    start_N = end_N * np.exp(rng.normal(0, 0.3, trials))
    f1_N = 0.9 - 0.06 * (end_N - 5) + rng.normal(0, 0.04, trials)
    falling_NT = np.arange(1, epochs + 1) ** -speed_N[:, None]
    if ascending:
        # All come near their end within their epochs, from further away the slower they are.
        falling_NT -= falling_NT[:, -1:]
    mpjpe_NT = (end_N[:, None] + start_N[:, None] * falling_NT) * np.exp(
        rng.normal(0, NOISE, (trials, epochs))
    )
    f1_NT = f1_N[:, None] - 0.4 * falling_NT + rng.normal(0, NOISE, (trials, epochs))
    return [
        Training(str(n), mpjpe_NT[n], f1_NT[n], int(10 ** (5 + 1.5 * size_N[n])), 1 + 2 * float(size_N[n]))
        for n in range(trials)
    ]


def play(
    stopper: TrialScheduler, trainings: Sequence[Training], rng: np.random.Generator, slots: int = SLOTS
) -> tuple[set[str], int]:
    """Run a sweep on so many slots; the identities of the trials trained to their end, and all epochs spent.

    Epochs of large networks take longer, so trials overtake each other.
    """
    waiting = list(reversed(trainings))
    running: list[tuple[float, int, int]] = []  # time of the next result, trial, epoch
    told: list[tuple[Training, Trial, list[dict[str, Any]]]] = []
    finished, spent, now = set(), 0, 0.0
    while waiting or running:
        while waiting and len(running) < slots:
            training = waiting.pop()
            trial = Trial("stub", config={"identity": training.identity}, stub=True)
            stopper.on_trial_add(NOBODY, trial)
            told.append(
                (training, trial, training.results(training.latency_ms * np.exp(rng.normal(0, CLOCK_NOISE))))
            )
            heapq.heappush(running, (now + training.latency_ms, len(told) - 1, 0))
        now, number, epoch = heapq.heappop(running)
        training, trial, results = told[number]
        spent += 1
        decision = stopper.on_trial_result(NOBODY, trial, results[epoch])
        if decision == TrialScheduler.STOP or epoch + 1 == len(results):
            stopper.on_trial_complete(NOBODY, trial, results[epoch])
            if epoch + 1 == len(results):
                finished.add(training.identity)
        else:
            heapq.heappush(running, (now + training.latency_ms, number, epoch + 1))
    return finished, spent


def true_front(trainings: Sequence[Training], objectives: Sequence[Objective]) -> set[str]:
    return {trial.identity for trial in front([t.record() for t in trainings], objectives)}


def row(method: str, objectives: Sequence[Objective], *, ascending: bool, seeds: int) -> str:
    spent, recalls, best, stopped_front, whole_front = [], [], [], 0, 0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        trainings = draw(rng, ascending=ascending)
        stopper = make_stopper(method, epochs=EPOCHS, objectives=objectives, ended=[])
        finished, epochs = play(stopper, trainings, rng)
        on_front = true_front(trainings, objectives)
        spent.append(epochs / (TRIALS * EPOCHS))
        recalls.append(len(on_front & finished) / len(on_front))
        stopped_front += len(on_front - finished)
        whole_front += len(on_front)
        of_all = min(t.mpjpe_cm.min() for t in trainings)
        found = min(t.mpjpe_cm.min() for t in trainings if t.identity in finished)
        best.append(100 * (found / of_all - 1))
    figures = [f"{np.mean(x):8.3f} ± {np.std(x):5.3f}" for x in (spent, recalls)]
    return (
        f"{method:10}{'  '.join(figures)}  {stopped_front / whole_front:8.4f}"
        f"  {np.mean(best):6.2f} ± {np.std(best):4.2f}"
    )


@click.command()
@click.option("--seeds", default=200, show_default=True)
def main(seeds: int) -> None:
    print(f"{TRIALS} trials of {EPOCHS} epochs, {SLOTS} at once; {seeds} seeds.")
    for ascending in (False, True):
        for names in (
            ("mpjpe_cm",),
            ("mpjpe_cm", "parameters", "latency_ms"),
            ("mpjpe_cm", "contact_f1"),
            tuple(OBJECTIVES),
        ):
            print(f"\n{'ascending' if ascending else 'shuffled'}, {', '.join(names)}")
            print(f"{'':10}{'epochs':>8}{'':10}{'recall':>8}{'':10}{'wrong':>8}  {'best %':>6}")
            for method in ("none", *(m for m in STOPPINGS if m != "none")):
                print(
                    row(method, [OBJECTIVES[n] for n in names], ascending=ascending, seeds=seeds), flush=True
                )


if __name__ == "__main__":
    main()
