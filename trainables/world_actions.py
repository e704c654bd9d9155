"""What is done in the procedural world: actions, the tasks that give them their manner, and their course in time.

An action is a verb and a direction; both are words of its text, so that a held-out action shares its verb with some
and its direction with other actions of the train part. A task says how hastily, how far and from how high things are
done, and which things, so that its clips have a manner of their own.

World axes: x to the person's right, y forward, z up; metres.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FPS = 30.0
_BEFORE = 0.78  # of the clips begin before the hand touches

LEFT, RIGHT = (-1.0, 0.0, 0.0), (1.0, 0.0, 0.0)
FORWARD, BACK = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0)
UP, DOWN = (0.0, 0.0, 1.0), (0.0, 0.0, -1.0)
WAYS = {"left": LEFT, "right": RIGHT, "forward": FORWARD, "back": BACK, "up": UP, "down": DOWN}

WRAPPED = ("can", "mug", "bottle", "box", "bowl")  # held from the side, hand round them
PINCHED = ("ball", "marker", "sponge", "lid", "knob")  # held from above, between thumb and fingers
FLAT = ("book", "sponge", "marker", "box")  # moved under fingers laid on top
POKED = ("button", "book", "box", "lid", "knob", "can", "sponge", "ball")


@dataclass(frozen=True, kw_only=True)
class Action:
    """A verb done in one direction."""

    verb: str
    direction: str
    grip: str  # "hold" (the object's own: wrap or pinch) | "wrap" | "pinch" | "flat" | "poke" | "shove"
    path: str  # "carry" | "bring" | "turn" | "pour" | "tilt" | "shake" | "dip" | "close"
    objects: tuple[str, ...]
    reach: float  # metres of a carry, radians of a turn, number of touches of a dip
    way: tuple[float, float, float] = UP

    @property
    def name(self) -> str:
        return f"{self.verb} {self.direction}"


def _ways(verb: str, ways: str, **kind: object) -> list[Action]:
    return [Action(verb=verb, direction=way, way=WAYS[way], **kind) for way in ways.split()]  # type: ignore[arg-type]


_HELD = WRAPPED + ("ball", "marker", "sponge", "lid")
_ACTIONS = [
    *_ways("push", "left right forward", grip="shove", path="carry", reach=0.15,
           objects=("box", "can", "mug", "bottle", "bowl", "book", "ball", "sponge")),
    *_ways("pull", "left right back", grip="wrap", path="carry", reach=0.14, objects=WRAPPED),
    *_ways("slide", "left right forward back", grip="flat", path="carry", reach=0.15, objects=FLAT),
    *_ways("lift", "up left right back", grip="hold", path="carry", reach=0.16, objects=_HELD),
    *_ways("place", "down left right forward", grip="hold", path="bring", reach=0.15, objects=_HELD),
    *_ways("pour", "left right forward", grip="wrap", path="pour", reach=1.2, objects=("can", "mug", "bottle", "bowl")),
    *_ways("tilt", "left right back", grip="wrap", path="tilt", reach=0.6, objects=WRAPPED),
    *(Action(verb="turn", direction=name, grip="pinch", path="turn", reach=sign * 1.0,
             objects=("lid", "knob", "can", "ball", "box"))
      for name, sign in (("clockwise", -1), ("counterclockwise", 1))),
    *(Action(verb=verb, direction=times, grip="poke", path="dip", reach=count, objects=POKED)
      for verb in ("press", "tap") for times, count in (("once", 1), ("twice", 2))),
    *(Action(verb="shake", direction=name, grip="hold", path="shake", reach=0.03, way=way,
             objects=("can", "bottle", "box", "ball", "marker"))
      for name, way in (("sideways", RIGHT), ("up and down", UP))),
    Action(verb="grasp", direction="from above", grip="pinch", path="close", reach=0.0, way=DOWN, objects=PINCHED + ("can", "box")),
    Action(verb="grasp", direction="from the side", grip="wrap", path="close", reach=0.0, way=LEFT, objects=WRAPPED),
]  # fmt: skip
ACTIONS = {action.name: action for action in _ACTIONS}


@dataclass(frozen=True, kw_only=True)
class Task:
    """A purposeful activity: its pace (1 = usual), reach (1 = usual), clearance of the approach, and its favourites."""

    name: str
    pace: float
    reach: float
    clearance_m: float
    verbs: tuple[str, ...]
    objects: tuple[str, ...]

    @property
    def adverb(self) -> str:
        """The word the text gives to an unusual pace."""
        return "slowly" if self.pace < 0.85 else "quickly" if self.pace > 1.15 else ""


def _task(row: str) -> Task:
    name, pace, reach, clearance, verbs, objects = (cell.strip() for cell in row.split("|"))
    return Task(
        name=name, pace=float(pace), reach=float(reach), clearance_m=float(clearance),
        verbs=tuple(verbs.split()), objects=tuple(objects.split()),
    )  # fmt: skip


# name | pace | reach | clearance | verbs it favours | objects it favours
_TASKS = """
set the table       | 1.00 | 1.1 | 0.06 | place slide lift      | mug bowl can bottle lid
clear the table     | 1.30 | 1.2 | 0.08 | lift pull slide       | mug bowl bottle sponge can
cook soup           | 1.00 | 0.9 | 0.08 | pour turn lift tilt   | lid can bottle bowl knob
bake bread          | 0.75 | 0.9 | 0.06 | pour press place turn | bowl knob button box sponge
make coffee         | 1.00 | 0.9 | 0.04 | press pour grasp turn | mug button can lid knob
serve drinks        | 0.75 | 1.0 | 0.08 | pour place lift grasp | bottle mug can
wash up             | 1.30 | 1.0 | 0.04 | slide turn tilt place | sponge bowl mug lid
wipe the desk       | 1.30 | 1.2 | 0.03 | slide push pull       | sponge book box mug
tidy up             | 1.30 | 1.1 | 0.06 | place lift push pull  | book box marker ball can
pack a box          | 1.00 | 1.2 | 0.10 | lift place grasp push | box ball bottle marker book
unpack shopping     | 1.30 | 1.0 | 0.08 | lift place pull       | can bottle box bowl
repair a radio      | 0.75 | 0.8 | 0.03 | turn press tap tilt   | knob button box lid
check a machine     | 1.00 | 0.8 | 0.04 | press turn tap        | button knob lid can
study               | 0.75 | 0.9 | 0.03 | slide grasp tap push  | book marker mug button
draw a poster       | 1.00 | 0.9 | 0.04 | grasp slide lift place | marker book sponge ball
write a letter      | 0.75 | 0.8 | 0.04 | grasp place press     | marker book lid
play a game         | 1.30 | 1.1 | 0.05 | push tap grasp shake  | ball button box marker
juggle              | 1.30 | 1.2 | 0.10 | lift shake grasp      | ball can bottle
mix a drink         | 1.30 | 0.9 | 0.06 | shake pour turn       | bottle can mug lid
water the plants    | 0.75 | 1.1 | 0.10 | pour lift tilt pull   | bottle mug bowl can
paint a wall        | 1.00 | 1.0 | 0.08 | shake turn tilt place | can lid sponge marker
build a tower       | 0.75 | 1.0 | 0.10 | place grasp tap       | box can ball book
sort the shelf      | 1.00 | 1.1 | 0.04 | push pull slide grasp | book box bottle can bowl
test a lamp         | 1.00 | 0.8 | 0.06 | press turn tap        | button knob ball box
mix medicine        | 0.75 | 0.9 | 0.05 | shake pour turn tilt  | bottle lid can mug
feed the cat        | 1.00 | 1.0 | 0.06 | pour push place tap   | bowl can box lid
teach a child       | 0.75 | 1.1 | 0.06 | tap push lift turn    | ball book knob button
hurry to work       | 1.30 | 1.2 | 0.05 | grasp press pull tilt | mug button book bottle
serve a guest       | 0.75 | 1.1 | 0.05 | push slide place pull | bowl mug lid book
wind up a toy       | 1.00 | 0.8 | 0.03 | turn shake press push | knob ball button box
"""
TASKS = {task.name: task for task in map(_task, _TASKS.strip().splitlines())}


def text_of(action: Action, category: str, task: Task) -> str:
    """The clip's action text: "push the mug left slowly"."""
    return f"{action.verb} the {category} {action.direction} {task.adverb}".strip()


def ease(x: np.ndarray) -> np.ndarray:
    """Minimum-jerk progress from 0 at x <= 0 to 1 at x >= 1 (Flash and Hogan 1985)."""
    x = np.clip(x, 0.0, 1.0)
    return x**3 * (10.0 - 15.0 * x + 6.0 * x**2)


@dataclass(frozen=True, kw_only=True)
class Course:
    """An action in time, (T,) each: 0..1 of the way off the object, of the fingers' closing, and of the act done."""

    away_T: np.ndarray
    closed_T: np.ndarray
    done_T: np.ndarray


def course(action: Action, task: Task, frames: int, rng: np.random.Generator) -> Course:
    """When the hand comes, closes, acts and leaves, in frames of 1/30 s; about half of the clips begin in contact."""
    t = np.arange(frames, dtype=np.float64)
    pace = task.pace * rng.uniform(0.95, 1.05)
    come, shut, act = 15.0 / pace, 10.0 / pace, 25.0 / pace
    if action.path == "bring":
        # Held from the first frame on; set down, then let go.
        start = rng.uniform(-0.35, 0.2) * act
        done = 1.0 - ease((t - start) / act)
        leave = start + act + 1.0
        opened = ease((t - leave) / shut)
        return Course(away_T=0.7 * ease((t - leave - 0.4 * shut) / come), closed_T=1.0 - opened, done_T=done)
    before = action.path == "close" or rng.random() < _BEFORE
    touch = rng.uniform(5.0, 1.3 * come) if before else rng.uniform(-0.35, -0.05) * act
    if action.path == "dip":
        hold, lift = (7.0 / pace, 0.45) if action.verb == "press" else (1.5 / pace, 0.6)
        up = 8.0 / pace
        if not before:
            touch = rng.uniform(-0.8, 0.0) * hold
        away = 1.0 - ease((t - touch + come) / come)
        for i in range(round(action.reach)):
            begin = touch + hold + i * (2.0 * up + hold)
            last = i + 1 == round(action.reach)
            away = away + lift * ease((t - begin) / up)
            if not last:
                away = away - lift * ease((t - begin - up) / up)
        return Course(away_T=away, closed_T=np.ones(frames), done_T=np.zeros(frames))
    away = 1.0 - ease((t - touch + come) / come)
    closed = ease((t - touch + 0.6 * shut) / shut)
    begin = touch + 0.4 * shut
    if action.path == "shake":
        cycle = 12.0 / pace
        done = np.sin(2 * np.pi * (t - begin) / cycle) * ease((t - begin) / cycle)
        return Course(away_T=away, closed_T=closed, done_T=done)
    done = ease((t - begin) / act)
    if action.grip in ("shove", "flat"):
        away = away + 0.5 * ease((t - begin - act - 1.0) / come)
    return Course(away_T=away, closed_T=closed, done_T=done)


def rigid_act(
    action: Action, done_T: np.ndarray, reach: float, middle_m: float
) -> tuple[np.ndarray, np.ndarray]:
    """The act as a rigid motion about the object's base: rotation vectors (T, 3) and translations (T, 3) metres.

    reach is the task's factor on the action's own; middle_m the object's half height, about which it is poured.
    """
    way = np.asarray(action.way)
    rotation, moved = np.zeros((len(done_T), 3)), np.zeros((len(done_T), 3))
    if action.path in ("carry", "bring"):
        size = action.reach * reach
        total = way * size
        if action.verb == "lift":
            total = total if action.direction == "up" else 0.7 * total + np.array([0.0, 0.0, 0.6 * size])
        if action.verb == "place":
            # done runs from 1 to 0: the object comes from above, against the word's direction.
            total = np.array([0.0, 0.0, 0.9 * size]) if action.direction == "down" else -0.75 * total
            total = total + np.array([0.0, 0.0, 0.0 if action.direction == "down" else 0.6 * size])
        moved = done_T[:, None] * total
    elif action.path == "shake":
        moved = done_T[:, None] * way * action.reach * reach + np.array([0.0, 0.0, 0.05])
    elif action.path == "turn":
        rotation[:, 2] = done_T * action.reach * reach
    elif action.path in ("pour", "tilt"):
        # Tips the top towards the way: about z cross way.
        rotation = done_T[:, None] * np.cross(UP, way) * action.reach * reach
        if action.path == "pour":
            # About the middle, raised, so that the far edge clears the table.
            centre = np.array([0.0, 0.0, middle_m])
            turned = _rotate(rotation, np.broadcast_to(centre, rotation.shape))
            raised = done_T[:, None] * (0.13 * np.asarray(UP) + 0.04 * way)
            moved = centre - turned + raised
        else:
            moved = done_T[:, None] * 0.04 * np.asarray(UP)
    return rotation, moved


def _rotate(vector_T3: np.ndarray, point_T3: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: points turned by rotation vectors (radians)."""
    angle = np.linalg.norm(vector_T3, axis=-1, keepdims=True)
    axis = vector_T3 / np.maximum(angle, 1e-12)
    along = axis * (axis * point_T3).sum(-1, keepdims=True)
    return point_T3 * np.cos(angle) + np.cross(axis, point_T3) * np.sin(angle) + along * (1 - np.cos(angle))
