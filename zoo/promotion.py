"""Move an alias to a version: through the gate, by compare-and-swap, every move on record."""

from __future__ import annotations

import logging
import uuid
from dataclasses import dataclass
from typing import Any

from zoo import bundle, gate, layout
from zoo.errors import Conflict, GateRefused, ObjectMissing, RegistryError
from zoo.names import DEFAULT_ALIAS, check_alias, parse_reference
from zoo.publishing import signature
from zoo.store import Store, open_store, parse_json, to_json

log = logging.getLogger("zoo")
ATTEMPTS = 20


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The state of an alias after `promote`. `moved` is False where the version held it already."""

    name: str
    version: int
    digest: str
    alias: str
    moved: bool
    reason: str  # the gate's sentence, and why the gate was overruled where it was
    registry_error: str = ""


def promote(
    name: str,
    version: int | None = None,
    *,
    alias: str = DEFAULT_ALIAS,
    force: str | None = None,
    store: Store | None = None,
) -> Promotion:
    """Let `name@version` (or a reference such as "latentact-world-objects@3") take `alias`.

    The gate compares it with the holder; `force` overrules the gate and must say why, in words that are kept
    with the move. Where another promotion comes first, the gate is asked again about the new holder.

    Raises GateRefused, UnknownModel, BadName, StoreError.
    """
    check_alias(alias)
    if force is not None and not force.strip():
        raise GateRefused("Forcing a promotion needs a reason: it is kept in the alias's log.")
    store = store or open_store()
    reference = parse_reference(name if version is None else f"{name}@{version}")
    name = reference.name
    number, digest = layout.resolve(store, reference)
    for _ in range(ATTEMPTS):
        tag, current = _state(store, name, alias)
        if current is not None and current["digest"] == digest:
            return Promotion(
                name=name,
                version=number,
                digest=digest,
                alias=alias,
                moved=False,
                reason="It holds the alias already.",
            )
        verdict = gate.decide(
            _figures(store, name, digest), _figures(store, name, current["digest"]) if current else None
        )
        if not verdict.passed and force is None:
            holder = f"{name}@{current['number']} keeps '{alias}'. " if current else ""
            raise GateRefused(
                f"{name}@{number} does not become '{alias}': {verdict.sentence} {holder}To overrule the gate, give a "
                "reason with --force."
            )
        record = _record(alias, number, digest, current, verdict, force)
        try:
            if current is not None:
                _log(store, name, current)  # complete the log of a mover who died between its two writes
            store.put_if(layout.alias_key(name, alias), to_json(record), tag)
        except Conflict:
            continue
        _log(store, name, record)
        reason = verdict.sentence if force is None else f"{verdict.sentence} Forced: {force}"
        return Promotion(
            name=name, version=number, digest=digest, alias=alias, moved=True, reason=reason,
            registry_error=_mirror(store, name),
        )  # fmt: skip
    raise Conflict(f"The alias '{alias}' of {name} is being moved by many at once: try again in a moment.")


def history(name: str, alias: str = DEFAULT_ALIAS, *, store: Store | None = None) -> list[dict[str, Any]]:
    """Every state that an alias has had, oldest first."""
    store = store or open_store()
    _, current = _state(store, name, alias)
    keys = [
        key
        for key in store.list(f"{layout.model_folder(name)}/log/")
        if key.rsplit("/", 1)[1].rpartition("-")[0] == alias
    ]
    states = {key: parse_json(store.get(key).read(), key) for key in keys}
    if current is not None:
        states[layout.log_key(name, alias, current["sequence"])] = current
    return [states[key] for key in sorted(states)]


def _state(store: Store, name: str, alias: str) -> tuple[str | None, dict[str, Any] | None]:
    key = layout.alias_key(name, alias)
    try:
        blob = store.get(key)
    except ObjectMissing:
        return None, None
    return blob.tag, parse_json(blob.read(), f"{store.url}/{key}")


def _figures(store: Store, name: str, digest: str) -> tuple[dict[str, Any], dict[str, Any]]:
    config = layout.read_bundle_json(store, name, digest, bundle.CONFIG)
    return config, layout.read_bundle_json(store, name, digest, bundle.METRICS)


def _record(
    alias: str,
    number: int,
    digest: str,
    current: dict[str, Any] | None,
    verdict: gate.Verdict,
    force: str | None,
) -> dict[str, Any]:
    """The alias object: it holds the whole move, so that no second write is needed for it to be on record."""
    return {
        "schema": 1,
        "alias": alias,
        "number": number,
        "digest": digest,
        "sequence": current["sequence"] + 1 if current else 1,
        "previous": {"number": current["number"], "digest": current["digest"]} if current else None,
        "verdict": verdict.to_json(),
        "forced": force,
        "nonce": uuid.uuid4().hex,  # no two moves have equal bytes, so a state never comes back unnoticed
        **signature(),
    }


def _log(store: Store, name: str, record: dict[str, Any]) -> None:
    store.put_if(layout.log_key(name, record["alias"], record["sequence"]), to_json(record), None)


def _mirror(store: Store, name: str) -> str:
    from zoo import registry

    try:
        registry.mirror(store, name)
    except RegistryError as failure:
        error = f"The alias has moved, but MLflow does not show it: {failure} Then run `zoo register {name}`."
        log.warning(error)
        return error
    return ""
