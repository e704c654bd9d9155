"""What a comparison trains: named configurations, each on the same data, with the same seeds and the same budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sweeps.errors import SweepError
from sweeps.plan import Plan
from trainables.trial_config import METHODS, TrialConfig

# Fields of a trial that a comparison decides by itself.
COMPARED = ("mode",)


@dataclass(frozen=True, kw_only=True)
class ComparisonPlan(Plan):
    """Contenders, the first of which the others are compared with.

    `contenders` maps a name to the fields that make it (they stand over `fixed`), `untrained` names predictors that
    are made from the training windows and only evaluated, and with `folds` (0: none) every setting is cut into so
    many, each of whose groups is held out once.
    """

    contenders: Mapping[str, Mapping[str, Any]]
    untrained: tuple[str, ...] = ()
    folds: int = 0
    mode: str = "forecast"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.folds:
            if self.folds < 3:
                raise SweepError(f"--folds {self.folds}: train, val and test need at least 3.")
            if whole := [setting for setting in self.settings if ":" in setting]:
                raise SweepError(
                    f"--split {whole[0]} is one fold already; give its setting, or leave --folds out."
                )
        # What cannot be is refused before anything is trained.
        known: dict[TrialConfig, str] = {}
        for name in self.contenders:
            config = self.config(self.settings[0], contender=name, seed=self.seed)
            if (same := known.setdefault(config, name)) != name:
                raise SweepError(
                    f"{same} and {name} are the same trial with these --set fields; change one of them."
                )

    @property
    def reference(self) -> str:
        """The contender that the others are compared with."""
        return next(iter(self.contenders))

    def record(self) -> dict[str, Any]:
        compared = {name: dict(fields) for name, fields in self.contenders.items()}
        more = {"untrained": list(self.untrained), "folds": self.folds, "mode": self.mode}
        return super().record() | {"contenders": compared} | more

    def fold_numbers(self) -> list[int]:
        """1 to `folds`, or 0 for the whole setting."""
        return list(range(1, self.folds + 1)) or [0]

    def points(self) -> list[dict[str, Any]]:
        """The params of every trial of a setting, seed by seed, so that a first table is early complete."""
        return [
            {"contender": name, **({"fold": fold} if fold else {}), "seed": seed}
            for seed in range(self.seed, self.seed + self.seeds)
            for fold in self.fold_numbers()
            for name in self.contenders
        ]

    def fold_setting(self, setting: str, fold: int) -> str:
        return f"{setting}:{fold}/{self.folds}" if fold else setting

    def config(self, setting: str, **params: Any) -> TrialConfig:
        """`params`: contender, seed and, where there are folds, fold (from 1).

        Equal budgets: a contender without some stage of LatentAct's has that stage's epochs on top of its predictor's,
        so that all train for the same number of epochs.
        """
        config = TrialConfig(
            setting=self.fold_setting(setting, params.get("fold", 0)),
            protocol=self.protocol,
            mode=self.mode,
            epochs=self.epochs,
            seed=params["seed"],
            **{**dict(self.fixed), **self.contenders[params["contender"]]},
        )
        epochs = {"codebook": config.codebook_epochs, "indexer": config.indexer_epochs}
        saved = [stage for stage in METHODS["latentact"] if stage not in config.stages]
        return replace(config, epochs=self.epochs + sum(epochs[stage] for stage in saved))
