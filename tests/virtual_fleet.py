"""A fleet that is not there: Tune's controller and the whole engine of the sweeps are real, their workers and clock are not.

Virtual time passes while the driver works, by what that takes, and jumps to the fleet's next event while it has nothing
to do. So a driver that is too slow keeps its virtual workers waiting as it would real ones.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import math
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, Self
from unittest.mock import patch

from ray import tune
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.train._internal import storage
from ray.tune.execution import experiment_state, tune_controller
from ray.tune.experiment import Experiment
from ray.tune.search import SearchGenerator

from sweeps import fleet, halt, ledger_pages, progress, recorder, search, session, slots, time_left
from sweeps.capacity import Capacity
from sweeps.conduct import Conduct
from sweeps.node_hours import NodeHours
from sweeps.plan import SweepPlan
from sweeps.run import TUNE_SETTINGS
from sweeps.session import Session
from sweeps.slots import Slots
from sweeps.tracking import Tracking
from sweeps.tune_trial import GroupTrial
from tests.virtual_clock import VirtualClock
from tests.virtual_training import VirtualTraining
from zoo.store import Store

# Whose `time` is the virtual clock. Heartbeats are real, and so is their clock.
_TIMED = (halt, ledger_pages, progress, recorder, search, session, slots, time_left, experiment_state, tune_controller)  # fmt: skip
_START_S = 0.05  # until a warm actor has its next trial
# Ten looks a second, as Tune has them, would take most of the benchmark's time and find nothing.
_POLL_S = 1.0


class VirtualActors:
    """Ray's actor manager as Tune's controller uses it, without actors: every one is a virtual worker."""

    def __init__(self, clock: VirtualClock, shelf: Store, epoch_s: float) -> None:
        self._clock, self._shelf, self._epoch_s = clock, shelf, epoch_s
        self._events: list[tuple[float, int, TrackedActor | None, Callable[[], Callable[[], Any]]]] = []
        self._numbers = itertools.count()
        self._alive: dict[TrackedActor, VirtualTraining | None] = {}
        self._dropped: set[int] = set()  # events of tasks that nobody waits for any more
        self._waiting: dict[TrackedActor, int] = {}
        self._live_actors_to_ray_actors_resources: dict[TrackedActor, Any] = {}
        self.num_pending_actors = self.num_actor_tasks = 0
        self.late_s: list[float] = []  # how long each report waited for the driver
        # When each step of the driver began, and how long it was busy.
        self.steps: list[tuple[float, float]] = []
        self._returned_s = clock.monotonic()
        self.stepped: Callable[[], None] = lambda: None

    def _at(self, delay_s: float, actor: TrackedActor | None, event: Callable[[], Callable[[], Any]]) -> int:
        number = next(self._numbers)
        heapq.heappush(self._events, (self._clock.monotonic() + delay_s, number, actor, event))
        return number

    @property
    def num_live_actors(self) -> int:
        return len(self._live_actors_to_ray_actors_resources)

    @property
    def num_total_actors(self) -> int:
        return len(self._alive)

    def add_actor(self, cls: Any, resource_request: Any, kwargs: Any, on_start: Any, on_stop: Any, on_error: Any) -> TrackedActor:  # fmt: skip
        with self._clock.aside():
            actor = TrackedActor(next(self._numbers), on_start, on_stop, on_error)
            self._alive[actor] = self._training(kwargs["config"])
            remote = SimpleNamespace(get_auto_filled_metrics=SimpleNamespace(remote=lambda **_: {}))

            def start() -> Callable[[], Any]:
                if actor not in self._alive:  # its trial was given a warm one meanwhile
                    return lambda: None
                self._live_actors_to_ray_actors_resources[actor] = (remote, None)
                return lambda: on_start(actor)

            self._at(1.0, actor, start)
        return actor

    def _training(self, config: dict[str, Any]) -> VirtualTraining:
        job = {key: value for key, value in config.items() if not key.startswith("__")}
        return VirtualTraining(job, self._shelf, self._clock.time, self._epoch_s)

    def schedule_actor_task(self, tracked_actor: TrackedActor, method_name: str, args: Any = (), kwargs: Any = None, on_result: Any = None, on_error: Any = None, _return_future: bool = False) -> Any:  # fmt: skip
        with self._clock.aside():
            if method_name == "train":
                training = self._alive[tracked_actor]
                assert training is not None

                def step() -> Callable[[], Any]:
                    told = training.step()
                    return lambda: on_result(tracked_actor, told)

                number = self._at(training.next_s(), tracked_actor, step)
            elif method_name == "reset":
                self._alive[tracked_actor] = self._training(args[0])
                number = self._at(_START_S, tracked_actor, lambda: lambda: on_result(tracked_actor, True))
            else:
                assert method_name == "stop", method_name
                return object()
            self._waiting[tracked_actor] = number
        return None

    def remove_actor(self, tracked_actor: TrackedActor, kill: bool = False, stop_future: Any = None) -> bool:
        self.clear_actor_task_futures(tracked_actor)
        started = self._live_actors_to_ray_actors_resources.pop(tracked_actor, None) is not None
        self._alive.pop(tracked_actor, None)

        def stop() -> Callable[[], Any]:
            return lambda: tracked_actor._on_stop and tracked_actor._on_stop(tracked_actor)

        with self._clock.aside():
            self._at(_START_S, None, stop)
        return started

    def clear_actor_task_futures(self, tracked_actor: TrackedActor) -> None:
        if (number := self._waiting.pop(tracked_actor, None)) is not None:
            self._dropped.add(number)

    def is_actor_started(self, tracked_actor: TrackedActor) -> bool:
        return tracked_actor in self._live_actors_to_ray_actors_resources

    def is_actor_failed(self, tracked_actor: TrackedActor) -> bool:
        return False

    def cleanup(self) -> None:
        self._events.clear()

    def next(self, timeout: float) -> bool:
        """The next event, or that none came in time; in between, the driver has made one step."""
        callback = None
        with self._clock.aside():
            now_s = self._clock.monotonic()
            self.steps.append((self._returned_s, now_s - self._returned_s))
            self.stepped()
            while self._events and self._events[0][1] in self._dropped:
                self._dropped.discard(heapq.heappop(self._events)[1])
            timeout = max(timeout, _POLL_S)
            if not self._events or self._events[0][0] > now_s + timeout:
                self._clock.skip_to(now_s + timeout)
            else:
                at_s, number, actor, event = heapq.heappop(self._events)
                self._clock.skip_to(at_s)
                self.late_s.append(max(0.0, now_s - at_s))
                if actor is not None and self._waiting.get(actor) == number:
                    del self._waiting[actor]
                callback = event()
            self._returned_s = self._clock.monotonic()
        if callback is not None:
            callback()
        return callback is not None


class VirtualSlots(Slots):
    """So many places, whose groups of workers are not there."""

    def __init__(self, name: str, count: int) -> None:
        desk = SimpleNamespace(**{what: SimpleNamespace(remote=lambda *_: None) for what in ("end", "close")})
        self._session, self._parallel = name, count
        self._groups = {f"{name}-{number}": desk for number in range(count)}
        self._busy = set()
        self._memory = {"gpu_bytes": 0.0, "peak_bytes": 0.0}
        self._looked_s = math.inf  # never: there is no cluster
        self.fleet = fleet.Fleet((), scales=False)
        self.capacity = Capacity(count, 0.0)


class NoNodes(NodeHours):
    """Virtual workers are on no node that costs anything."""

    def _count(self, seconds: float) -> None:
        pass


class VirtualSession(Session):
    """A driver of a virtual fleet of `count` workers."""

    def __init__(self, plan: SweepPlan, store: Store, count: int) -> None:
        super().__init__(plan, store, Conduct(parallel=count))
        self._count = count

    def __enter__(self) -> Self:
        self.claims.__enter__()
        self._take_name()
        self.slots = VirtualSlots(self.name, self._count)
        self.ledger.clear_stop()
        self.ledger.note("session", slots=self._count, device="cpu", workers="1", nodes=1, usd_per_hour=None)
        self.tracking = Tracking(None, self.plan, {})
        self.nodes = NoNodes(self.ledger)
        return self


class Fleet:
    """Runs trials as sweeps.run does; what it saw is in `actors` and `controller` afterwards."""

    def __init__(self, clock: VirtualClock, shelf: Store, epoch_s: float = 60.0) -> None:
        self.clock = clock
        self.actors = VirtualActors(clock, shelf, epoch_s)
        self.controller: Any = None
        self.saving_s = 0.0  # what Tune's last writing took

    def run_trials(
        self, searcher: Any, scheduler: Any, follower: Any, stop: Any, *, desk: dict[str, float]
    ) -> None:
        with (
            tempfile.TemporaryDirectory(prefix="virtual-fleet-") as scratch,
            # Otherwise below the folder of a Ray that runs.
            patch.object(storage, "_get_ray_train_session_dir", lambda: scratch),
        ):
            trainable = tune.with_resources(GroupTrial, desk)
            experiment = Experiment(
                "fleet",
                trainable,
                stop=stop,
                config={},
                num_samples=sys.maxsize,
                storage_path=scratch,
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                max_failures=3,
            )
            generator = SearchGenerator(searcher)
            self.controller = controller = tune_controller.TuneController(
                search_alg=generator,
                scheduler=scheduler,
                stopper=experiment.stopper,
                callbacks=[follower],
                trial_checkpoint_config=experiment.checkpoint_config,
                reuse_actors=True,
                storage=experiment.storage,
            )
            controller._actor_manager = self.actors  # type: ignore[assignment]
            generator.add_configurations([experiment])
            controller.update_max_pending_trials()
            controller.setup_experiments(experiments=[experiment], total_num_samples=sys.maxsize)
            while not controller.is_finished():
                controller.step()
            ended_s = self.clock.monotonic()
            controller.checkpoint(force=True, wait=True)  # as Tune does
            self.saving_s = self.clock.monotonic() - ended_s
            controller.cleanup()

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Until the block ends, sessions train on this fleet and by its clock."""
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, TUNE_SETTINGS))
            stack.enter_context(patch.object(session, "run_trials", self.run_trials))
            for module in _TIMED:
                stack.enter_context(patch.object(module, "time", self.clock))
            yield
