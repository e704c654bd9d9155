"""Let a version take an alias: through the gate, by compare-and-swap, every move on record."""

from __future__ import annotations

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from zoo import alias_log, bundle, gate, gate_looks, layout, model_card, store_probe, webhook
from zoo.errors import BundleError, Conflict, GateRefused, ObjectMissing
from zoo.names import DEFAULT_ALIAS, check_alias, parse_reference
from zoo.publishing import mirrored
from zoo.store import Store, open_store

log = logging.getLogger("zoo")


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """The state of an alias after `promote` or `rollback`. `moved` is False where the version held it already.

    What went wrong after the move is told and does not undo it: `registry_error` (MLflow), `notify_error` (webhook).
    """

    name: str
    version: int
    digest: str
    alias: str
    moved: bool
    reason: str  # the gate's sentence, and why the gate was overruled where it was
    sequence: int  # of the alias's state, as in `history`
    previous: int | None = None  # the version that held the alias before
    verdict: dict[str, Any] | None = None  # the gate's, in figures
    registry_error: str = ""
    notify_error: str = ""


def promote(
    name: str,
    version: int | None = None,
    *,
    alias: str = DEFAULT_ALIAS,
    force: str | None = None,
    min_effect_cm: float | None = None,
    store: Store | None = None,
) -> Promotion:
    """Let `name@version` (or a reference such as "latentact-world-objects@3") take `alias`.

    The gate compares it with the holder, which it must beat by `min_effect_cm` (by default 1 % of the holder's MPJPE).
    `force` overrules the gate and must say why, in words that are kept with the move. Where another promotion comes
    first, the gate is asked again about the new holder.

    Raises GateRefused, UnknownModel, BadName, DamagedBundle, StoreError (UnsafeStore among them).
    """
    check_alias(alias)
    if force is not None and not force.strip():
        raise GateRefused("Forcing a promotion needs a reason: it is kept in the alias's log.")
    if min_effect_cm is not None and not 0 <= min_effect_cm < math.inf:
        raise GateRefused(f"A minimum effect of {min_effect_cm} cm is none: give centimetres, 0 or more.")
    store = store or open_store()
    store_probe.check(store)
    reference = parse_reference(name if version is None else f"{name}@{version}")
    name = reference.name
    number, digest = layout.resolve(store, reference)
    for _ in alias_log.attempts(name, alias):
        tag, holder = alias_log.present(store, name, alias)
        if holder is not None and holder["digest"] == digest:
            return Promotion(
                name=name, version=number, digest=digest, alias=alias, moved=False, sequence=holder["sequence"],
                reason="It holds the alias already.",
            )  # fmt: skip
        verdict = _ask_gate(store, name, number, digest, holder["digest"] if holder else None, min_effect_cm)
        if not verdict.passed and force is None:
            keeps = f"{name}@{holder['number']} keeps '{alias}'. " if holder else ""
            raise GateRefused(
                f"{name}@{number} does not become '{alias}': {verdict.sentence} {keeps}To overrule the gate, give a "
                "reason with --force.",
                verdict=verdict.to_json(),
            )
        overruled = force is not None and not verdict.passed
        try:
            state = alias_log.move(
                store, name, alias, seen=(tag, holder), number=number, digest=digest,
                how="forced" if overruled else "promotion", reason=force, forced=force, verdict=verdict.to_json(),
            )  # fmt: skip
        except Conflict:
            continue
        said = verdict.sentence if force is None else f"{verdict.sentence} Forced: {force}"
        return announced(store, name, state, said)
    raise AssertionError("attempts end in Conflict")


def announced(store: Store, name: str, state: alias_log.State, reason: str) -> Promotion:
    """Tell MLflow and the webhook of a move that is made; neither can undo it."""
    if registry_error := mirrored(store, name, "The alias has moved"):
        log.warning(registry_error)
    return Promotion(
        name=name, version=state["number"], digest=state["digest"], alias=state["alias"], moved=True,
        reason=reason, sequence=state["sequence"], verdict=state.get("verdict"),
        previous=state["previous"]["number"] if state["previous"] else None,
        registry_error=registry_error, notify_error=webhook.notify(store.url, name, state),
    )  # fmt: skip


def _ask_gate(
    store: Store, name: str, number: int, digest: str, holder: str | None, min_effect_cm: float | None
) -> gate.Verdict:
    """The verdict on a digest against the holder's; where errors are compared, the look is counted and kept."""
    with ThreadPoolExecutor(2) as pool:
        theirs = pool.submit(_read, store, name, holder) if holder else None
        config, metrics, text = _read(store, name, digest)
        try:
            champion = theirs.result()[:2] if theirs else None
        except (BundleError, ObjectMissing) as error:
            return gate.Verdict(passed=False, sentence=f"Nothing compares with the champion: {error}")
    candidate, lacking = (config, metrics), model_card.missing(text)
    refused = gate.refusal(candidate, champion, lacking=lacking)
    if refused is not None or holder is None:
        return refused or gate.decide(candidate, None)
    look = gate_looks.count(store, name, holder, digest)
    verdict = gate.decide(candidate, champion, look=look, min_effect_cm=min_effect_cm)
    gate_looks.keep(store, name, holder, digest, number, verdict)
    return verdict


def _read(store: Store, name: str, digest: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """config.json, metrics.json and card.md of a version, verified."""
    paths = (bundle.CONFIG, bundle.METRICS, bundle.CARD)
    config, metrics, text = layout.read_bundle_files(store, name, digest, *paths)
    return (
        bundle.parse_json_file(config, bundle.CONFIG),
        bundle.parse_json_file(metrics, bundle.METRICS),
        text.decode(errors="replace"),
    )
