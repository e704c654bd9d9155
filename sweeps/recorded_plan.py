"""A plan from the record that the ledger keeps of it, for what is made again long after the command was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from sweeps.comparison_plan import ComparisonPlan
from sweeps.errors import SweepError
from sweeps.plan import Plan, SweepPlan
from sweeps.space import OBJECTIVES, Axis
from trainables.code_digest import code_digest
from trainables.trial_config import ConfigError, TrialConfig

_DEFAULTS = {field.name: field.default for field in fields(TrialConfig)}
_BY_OPTION = {"setting", "protocol", "epochs", "seed"}
_ENVIRONMENT = ("code", "torch")


def plan_of(name: str, record: Mapping[str, Any]) -> Plan:
    """The plan of that name. Where its data lie is not in the record: `data` is empty.

    Raises SweepError where this version cannot read the record.
    """
    try:
        return _comparison(name, record) if "contenders" in record else _sweep(name, record)
    except (KeyError, TypeError, ValueError) as error:  # SweepError and ConfigError among them
        reason = f"no {error}" if isinstance(error, KeyError) else str(error)
        raise SweepError(
            f"{name} was planned by another version of this project, whose record cannot be read here ({reason}): "
            "use that version."
        ) from None


def recorded_config(
    plan: Plan, record: Mapping[str, Any], setting: str, params: dict[str, Any]
) -> dict[str, Any]:
    """The configuration (a TrialConfig's JSON) of one of the plan's trials.

    Of a plan made with other code, whose defaults are not known, only what its record and the trial's `params` say.
    """
    if record.get("code") == code_digest()[: len(str(record.get("code")))]:
        try:
            return plan.config(setting, **params).to_json()
        except (ConfigError, TypeError, KeyError):
            pass  # changed by hand; what is known is said below
    known = {**record, **record.get("contenders", {}).get(params.get("contender"), {}), **params}
    return {"setting": setting, **{name: value for name, value in known.items() if name in _DEFAULTS}}


def _common(name: str, record: Mapping[str, Any]) -> dict[str, Any]:
    free = _DEFAULTS.keys() - _BY_OPTION - ({"mode"} if "contenders" in record else set())
    return {
        "kind": record.get("kind", "sweep"),
        "data": "",
        "data_name": record["data"],
        "data_digest": record["data_digest"],
        "settings": tuple(record["split"].split(",")),
        "epochs": record["epochs"],
        "seeds": record["seeds"],
        "seed": record["seed"],
        "workers": str(record["workers"]),
        "protocol": record["protocol"],
        "fixed": tuple(sorted((field, record[field]) for field in free if field in record)),
        "environment": tuple((field, record[field]) for field in _ENVIRONMENT if field in record),
        "name": name,
    }


def _sweep(name: str, record: Mapping[str, Any]) -> SweepPlan:
    return SweepPlan(
        axes=tuple(_axis(field, text) for field, text in record["space"].items()),
        search=record["search"],
        objectives=tuple(OBJECTIVES[metric] for metric in record["objectives"]),
        stopping=record["stopping"],
        trials=record["trials"],
        finalists=record["finalists"],
        **_common(name, record),
    )


def _comparison(name: str, record: Mapping[str, Any]) -> ComparisonPlan:
    # Records are kept in the order of their names; what the others are compared with is the method itself.
    contenders = dict(sorted(record["contenders"].items(), key=lambda item: item[0] != "latentact"))
    return ComparisonPlan(
        contenders=contenders,
        untrained=tuple(record["untrained"]),
        folds=record["folds"],
        mode=record["mode"],
        **_common(name, record),
    )


def _axis(field: str, text: str) -> Axis:
    """The axis that `str` made such a text of."""
    kind: Any = type(_DEFAULTS[field])
    values, _, log = text.partition(" ")
    if ":" in values:
        low, high = (kind(float(bound)) for bound in values.split(":"))
        return Axis(field, "int" if kind is int else "float", low, high, log=log == "log")
    choices = tuple(value == "True" if kind is bool else kind(value) for value in values.split(","))
    return Axis(field, "choice", choices=choices)
