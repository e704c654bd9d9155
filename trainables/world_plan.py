"""Which clips the procedural world holds, and which groups are held out of each setting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainables.world_actions import ACTIONS, TASKS, Action, Task
from trainables.world_objects import CATEGORIES, SIZES
from trainables.world_scenes import SCENES

HELD_OUT_PARTS = ("val", "gate", "test")
# A held-out action shares its verb with one and its direction with another action of the train part.
_ACTIONS_HELD_OUT = {
    "val": ["push right", "lift left", "pour forward", "press twice"],
    "gate": ["pull left", "slide forward", "place right", "tilt back"],
    "test": ["push left", "slide right", "lift back", "pour left"],
}
_SCENES_EACH, _TASKS_EACH = 4, 4


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one clip shows."""

    action: Action
    category: str
    size: str
    task: Task
    scene: int

    @property
    def object(self) -> str:
        return f"{self.size} {self.category}"


def plan_clips(count: int, seed: int) -> list[Plan]:
    """`count` plans in which actions and scenes come up equally often, objects nearly so, and tasks as they favour."""
    rng = np.random.default_rng([seed, 0])
    actions, tasks = list(ACTIONS.values()), list(TASKS.values())
    objects = [(size, category) for category in CATEGORIES for size in SIZES]
    of_object, of_task = np.zeros(len(objects)), np.zeros(len(tasks))
    plans: list[Plan] = []
    action_order: list[int] = []
    scene_order: list[int] = []
    for _ in range(count):
        action_order = action_order or list(rng.permutation(len(actions)))
        scene_order = scene_order or list(rng.permutation(len(SCENES)))
        action = actions[action_order.pop()]
        able = [i for i, (_, category) in enumerate(objects) if category in action.objects]
        chosen = min(able, key=lambda i: of_object[i] + rng.uniform(0, 2))
        of_object[chosen] += 1
        size, category = objects[chosen]
        liking = np.array(
            [1.0 + 5.0 * (action.verb in t.verbs) + 2.0 * (category in t.objects) for t in tasks]
        )
        task = int(np.argmin((of_task + rng.uniform(0.2, 1.2, len(tasks))) / liking))
        of_task[task] += liking[task] / liking.mean()
        plans.append(
            Plan(action=action, category=category, size=size, task=tasks[task], scene=int(scene_order.pop()))
        )
    return plans


def _deal(names: list[str], held_out: dict[str, list[str]]) -> dict[str, list[str]]:
    away = {name for part in held_out.values() for name in part}
    return {"train": sorted(set(names) - away)} | {part: sorted(held_out[part]) for part in HELD_OUT_PARTS}


def world_settings(plans: list[Plan], seed: int) -> dict[str, dict[str, object]]:
    """The manifest's settings: parts of objects, actions, tasks and scenes; groups that no clip shows are left out,
    and so is a setting of which a small world lacks a part."""
    rng = np.random.default_rng([seed, 2])
    sizes, categories = list(SIZES), list(rng.permutation(list(CATEGORIES)))
    # One size of every category is held out, so that its word is known and its looks nearly are.
    objects: dict[str, list[str]] = {part: [] for part in HELD_OUT_PARTS}
    for i, category in enumerate(categories):
        objects[HELD_OUT_PARTS[i % 3]].append(f"{sizes[(i + i // 3) % 3]} {category}")
    drawn = {}
    for name, values, each in (("tasks", list(TASKS), _TASKS_EACH), ("scenes", list(SCENES), _SCENES_EACH)):
        order = list(rng.permutation(values))
        drawn[name] = {part: order[i * each : (i + 1) * each] for i, part in enumerate(HELD_OUT_PARTS)}
    dealt = {
        "objects": (
            "object",
            _deal([f"{s} {c}" for c in CATEGORIES for s in SIZES], objects),
            {p.object for p in plans},
        ),
        "actions": ("action", _deal(list(ACTIONS), _ACTIONS_HELD_OUT), {p.action.name for p in plans}),
        "tasks": ("task", _deal(list(TASKS), drawn["tasks"]), {p.task.name for p in plans}),
        "scenes": ("scene", _deal(list(SCENES), drawn["scenes"]), {SCENES[p.scene] for p in plans}),
    }
    settings: dict[str, dict[str, object]] = {}
    for setting, (group, parts, shown) in dealt.items():
        kept = {part: [str(name) for name in names if name in shown] for part, names in parts.items()}
        if all(kept.values()):
            settings[setting] = {"group": group, "parts": kept}
    return settings
