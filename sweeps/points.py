"""The points of a search space: spread out, in the order of a grid, or free ones near a taken one."""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sweeps.errors import SweepError
from sweeps.space import Axis

Params = dict[str, Any]
Key = tuple[Any, ...]

# How far a free point is looked for, in widths of the axes, and how often at each distance. Beyond that a finite
# space is walked through, which always finds one.
_DISTANCES = (0.05, 0.1, 0.2, 0.4, 0.8)
_LOOKS = 16


class Points:
    """The space that `axes` span. `seed` decides every order and draw."""

    def __init__(self, axes: Sequence[Axis], seed: int) -> None:
        self._axes = axes
        self._random = random.Random(seed)
        values = [values_of(axis) for axis in axes]
        self._values = [v for v in values if v is not None]
        # How many points there are; None: no end of them.
        self.size = math.prod(map(len, self._values)) if len(self._values) == len(axes) else None

    def key(self, params: Params) -> Key:
        """What two equal points have in common."""
        return tuple(params[axis.field] for axis in self._axes)

    def spread(self, count: int) -> list[Params]:
        """A Latin hypercube (McKay et al. 1979): cut into `count` equal parts, each axis has a point in every one."""
        columns = []
        for axis in self._axes:
            parts = self._random.sample(range(count), count)
            columns.append([_at(axis, (part + self._random.random()) / count) for part in parts])
        return [self._params(point) for point in zip(*columns, strict=True)]

    def grid(self) -> Iterator[Params]:
        """Every point once; the first n of them show all values of any axis that has at most n values.

        Raises SweepError that names an axis with no end of values.
        """
        for axis in self._axes:
            if values_of(axis) is None:
                raise SweepError(
                    f"--search grid: {axis.field} is any number from {axis.low:g} to {axis.high:g}, of which there is "
                    "no grid; give it choices = [...], or search with tpe, gp or random."
                )
        shuffled = [self._random.sample(values, len(values)) for values in self._values]
        longest_first = sorted(range(len(shuffled)), key=lambda axis: -len(shuffled[axis]))

        def walk() -> Iterator[Params]:
            for steps in _diagonals([len(shuffled[axis]) for axis in longest_first]):
                places = dict(zip(longest_first, steps, strict=True))
                yield self._params([values[places[axis]] for axis, values in enumerate(shuffled)])

        return walk()

    def free(self, near: Params, taken: Collection[Key]) -> Params | None:
        """A point that is not `taken`, close to `near` where one is easily found; None where all are taken.

        Costs at most as many looks as there are taken points, however large the space.
        """
        if self.size is not None and len(taken) >= self.size:
            return None
        middle = [_unit(axis, near[axis.field]) for axis in self._axes]
        for distance in _DISTANCES:
            for _ in range(_LOOKS):
                moved = (min(max(unit + self._random.gauss(0, distance), 0), 1) for unit in middle)
                params = self._params([_at(axis, unit) for axis, unit in zip(self._axes, moved, strict=True)])
                if self.key(params) not in taken:
                    return params
        if self.size is None:
            return None
        start = self._random.randrange(self.size)
        points = (self._numbered((start + step) % self.size) for step in range(len(taken) + 1))
        return next((params for params in points if self.key(params) not in taken), None)

    def _numbered(self, number: int) -> Params:
        point = []
        for values in self._values:
            number, place = divmod(number, len(values))
            point.append(values[place])
        return self._params(point)

    def _params(self, point: Sequence[Any]) -> Params:
        return {axis.field: value for axis, value in zip(self._axes, point, strict=True)}


def is_ordered(axis: Axis) -> bool:
    """Whether the choices of an axis are numbers, of which one lies between others."""
    return axis.kind == "choice" and all(type(value) in (int, float) for value in axis.choices)


def values_of(axis: Axis) -> Sequence[Any] | None:
    """All values of an axis, numbers in order; None where there is no end of them."""
    if is_ordered(axis):
        return tuple(sorted(axis.choices))
    if axis.kind == "float" and axis.low == axis.high:
        return (axis.low,)
    return axis.values


def _diagonals(lengths: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every place of a grid once, along its diagonals: each step moves on every axis."""
    if not lengths:
        yield ()
        return
    first, *rest = lengths
    for offsets in _diagonals(rest):
        for step in range(first):
            yield step, *((step + offset) % length for offset, length in zip(offsets, rest, strict=True))


def _at(axis: Axis, unit: float) -> Any:
    """The value at `unit`, from 0 (an axis' beginning) to 1 (its end)."""
    values = values_of(axis)
    if values is not None and not axis.log:
        return values[min(int(unit * len(values)), len(values) - 1)]
    low, high = _bounds(axis)
    value = math.exp(low + unit * (high - low)) if axis.log else low + unit * (high - low)
    if axis.kind == "int":
        value = round(value)
    return min(max(value, axis.low), axis.high)


def _unit(axis: Axis, value: Any) -> float:
    """Where on its axis a value lies; the inverse of `_at`."""
    values = values_of(axis)
    if values is not None and not axis.log:
        return (values.index(value) + 0.5) / len(values)
    low, high = _bounds(axis)
    return ((math.log(value) if axis.log else value) - low) / (high - low) if high > low else 0.5


def _bounds(axis: Axis) -> tuple[float, float]:
    # A whole number owns the half below and above it, so that the ends are drawn as often as others.
    margin = 0.5 if axis.kind == "int" else 0.0
    low, high = axis.low - margin, axis.high + margin
    return (math.log(low), math.log(high)) if axis.log else (low, high)
