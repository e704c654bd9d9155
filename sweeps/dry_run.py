"""What a plan would train, for how long and at what cost: nothing is started, and nothing is written."""

from __future__ import annotations

from typing import Any

from sweeps.capacity import Capacity, Workers
from sweeps.conduct import Conduct
from sweeps.errors import SweepError
from sweeps.estimate import estimate
from sweeps.estimate_table import print_estimate
from sweeps.fleet import Fleet
from sweeps.ledger import Ledger
from sweeps.plan import SweepPlan, describe_difference
from sweeps.ray_cluster import connect
from sweeps.timings import past_trials
from trainables.trial_config import stage_identities, trial_identity
from zoo.store import Store


def print_plan(plan: SweepPlan, store: Store, conduct: Conduct) -> int:
    """Print the estimate; returns the exit status. Raises SweepError where the name stands for another plan."""
    ledger = Ledger(store, plan.name)
    if (record := ledger.plan_record()) is not None and (
        differ := describe_difference(record, plan.record())
    ):
        raise SweepError(f"A sweep named {plan.name} exists with other settings: {'; '.join(differ)}.")
    capacity = _capacity(plan, conduct)
    where = {"workers": plan.workers, "device": capacity.device}

    def identities(setting: str, params: dict[str, Any]) -> str:
        return trial_identity(plan.config(setting, **params), plan.data_digest, **where)

    def stages(setting: str, params: dict[str, Any]) -> dict[str, str]:
        return stage_identities(plan.config(setting, **params), plan.data_digest, **where)

    shelf = {
        key.split("/")[1]
        for stage in ("codebooks", "indexers")
        for key in store.list(f"{stage}/")
        if key.endswith("/weights.json")
    }
    print_estimate(
        plan,
        estimate(
            plan,
            ledger.read(plan.budget)[0],
            identities=identities,
            stages=stages,
            shelf=shelf,
            history=past_trials(store, plan, capacity.device),
            usd_per_hour=conduct.budget.usd_per_hour,
            slots=conduct.parallel or capacity.slots,
            device=capacity.device,
            retry_failed=conduct.retry_failed,
        ),
    )
    return 0


def _capacity(plan: SweepPlan, conduct: Conduct) -> Capacity:
    """Of the cluster, or of one slot without a GPU where none answers."""
    import ray

    workers = Workers.parse(plan.workers)
    try:
        connect()
    except SweepError as error:
        print(f"{str(error).partition('. ')[0]}: times are for one trial at once, on a CPU.")
        return Capacity(slots=1, gpu_share=0.0)
    try:
        return Capacity.measure(Fleet.look().nodes, workers, waits=conduct.parallel is not None)
    finally:
        ray.shutdown()
