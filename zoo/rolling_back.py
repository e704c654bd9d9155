"""Put an alias back to a state that it had before. The way back is a move as any other, and stays on record."""

from __future__ import annotations

from zoo import alias_log, layout, store_probe
from zoo.errors import Conflict, RollbackRefused
from zoo.names import DEFAULT_ALIAS, Reference, check_alias, parse_name
from zoo.promotion import Promotion, announced
from zoo.store import Store, open_store


def rollback(
    name: str,
    *,
    reason: str,
    to: int | None = None,
    steps: int | None = None,
    alias: str = DEFAULT_ALIAS,
    store: Store | None = None,
) -> Promotion:
    """Give `alias` back to the version that held it in the state with sequence `to`, or `steps` states ago (1).

    No gate is asked, but a reason is needed. Steps go back from what the alias stands for: after a rollback, one more
    step leads further back, and never to what was rolled back from; `to` reaches every state. Where somebody else
    moves the alias meanwhile, nothing is done.

    Raises RollbackRefused, UnknownModel, BadName, DamagedBundle for a version that is no longer whole, Conflict,
    StoreError.
    """
    parse_name(name)
    check_alias(alias)
    if not reason.strip():
        raise RollbackRefused("A rollback needs a reason: it is kept in the alias's log.")
    if to is not None and steps is not None:
        raise RollbackRefused("Give the state to go back to, or a number of steps, and not both.")
    if steps is not None and steps < 1:
        raise RollbackRefused(f"{steps} steps lead nowhere: give 1 or more.")
    store = store or open_store()
    store_probe.check(store)
    sequence = None
    for _ in alias_log.attempts(name, alias):
        seen = alias_log.present(store, name, alias)
        current = seen[1]
        if current is None:
            layout.resolve(store, Reference(name, alias=alias))  # says what there is
            continue
        if sequence not in (None, current["sequence"]):
            raise Conflict(
                f"{name}@{alias} was moved to {name}@{current['number']} by {current['by']} meanwhile: look at "
                f"`zoo history {name}`, and roll back again if that is still right."
            )
        sequence = current["sequence"]
        target = _target(store, name, current, to, steps or 1)
        if target["digest"] == current["digest"]:
            return Promotion(
                name=name, version=current["number"], digest=current["digest"], alias=alias, moved=False,
                reason="It holds the alias already.", sequence=sequence,
            )  # fmt: skip
        try:
            state = alias_log.move(
                store, name, alias, seen=seen, number=target["number"], digest=target["digest"], how="rollback",
                reason=reason, rolled_back_to=target["sequence"], forced=None, verdict=None,
            )  # fmt: skip
        except Conflict:
            continue
        return announced(store, name, state, f"Rolled back to state {target['sequence']}: {reason}")
    raise AssertionError("attempts end in Conflict")


def _target(store: Store, name: str, current: alias_log.State, to: int | None, steps: int) -> alias_log.State:
    """The state that is asked for."""
    look = f"see `zoo history {name}`."
    if to is not None:
        target = alias_log.past(store, name, current, to) if 1 <= to <= current["sequence"] else None
        if target is None:
            raise RollbackRefused(
                f"'{current['alias']}' of {name} had the states 1 to {current['sequence']}, and no state {to}: {look}"
            )
        return target
    state = current
    for _ in range(steps):
        while (earlier := state.get("rolled_back_to")) is not None:
            state = _past(store, name, current, earlier)
        if state["sequence"] == 1:
            raise RollbackRefused(
                f"'{current['alias']}' of {name} has no state {steps} step{'s' if steps > 1 else ''} back: {look}"
            )
        state = _past(store, name, current, state["sequence"] - 1)
    return state


def _past(store: Store, name: str, current: alias_log.State, sequence: int) -> alias_log.State:
    state = alias_log.past(store, name, current, sequence)
    if state is None:
        raise RollbackRefused(
            f"State {sequence} of '{current['alias']}' of {name} is missing in the log: choose one of "
            f"`zoo history {name}` with --to."
        )
    return state
