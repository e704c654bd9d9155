"""The design of a user study: which pairs of motions a rater sees, in which order, and which motion stands left.

Forced choice between two motions of one clip, made from the same inputs. What a rater's page holds names motions by
opaque ids; which model made which is in the key alone. Ids and sides follow from a secret salt that is kept with the
key, so that knowing this file and the seed unblinds nothing.

A *slot* is one rater's sequence. Slots 2k and 2k+1 show the same pairs with all sides exchanged, so that over every two
slots each motion stands left as often as right, for each clip and for each rater (within one, where the number is odd).
Where a rater sees fewer pairs than there are, the slots walk round all of them, so that pairs get equally many raters.

Two kinds of presentation beside the pairs that count:
- *checks*: the true motion against the same frames in random order, which nobody who looks takes for the better one;
- *repeats*: pairs of the first half, shown again in the second with their sides exchanged.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from sweeps.errors import SweepError

A, B, TRUE, BROKEN = "a", "b", "true", "broken"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two motions of one clip, by opaque ids; `sources` says of each id whose it is: a and b, or true and broken."""

    pair: str
    sources: dict[str, str]

    @property
    def motions(self) -> tuple[str, str]:
        """Both ids in their own order, which says nothing."""
        first, second = sorted(self.sources)
        return first, second

    @property
    def check(self) -> bool:
        return TRUE in self.sources.values()

    def motion_of(self, source: str) -> str:
        return next(motion for motion, whose in self.sources.items() if whose == source)


@dataclass(frozen=True, kw_only=True)
class Presentation:
    """One screen: a pair, and which of its motions (0 or 1 of `Pair.motions`) stands left."""

    pair: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much a rater sees: pairs that count, checks among them, pairs shown twice; and how many sequences there are."""

    per_rater: int
    checks: int
    repeats: int
    slots: int

    @property
    def presentations(self) -> int:
        return self.per_rater + self.checks + self.repeats


def opaque(salt: str, *names: object) -> str:
    """12 hex digits that tell nothing to those who lack the salt."""
    return hashlib.sha256("/".join(map(str, (salt, *names))).encode()).hexdigest()[:12]


def make_pairs(salt: str, clips: int, checks: int) -> list[Pair]:
    """A pair a clip, then one a check, in an order that tells nothing of the clips' own."""
    made = []
    for kind, count, sources in (("pair", clips, (A, B)), ("check", checks, (TRUE, BROKEN))):
        for i in range(count):
            ids = {opaque(salt, kind, i, source): source for source in sources}
            made.append(Pair(pair=opaque(salt, kind, i), sources=ids))
    return made


def schedule(pairs: Sequence[Pair], sizes: Sizes, salt: str) -> list[list[Presentation]]:
    """The sequence of every slot.

    Raises:
        SweepError: the sizes do not fit the pairs.
    """
    real = [i for i, pair in enumerate(pairs) if not pair.check]
    checks = [i for i, pair in enumerate(pairs) if pair.check]
    if not 1 <= sizes.per_rater <= len(real):
        raise SweepError(
            f"--per-rater {sizes.per_rater}: there are {len(real)} pairs; give 1 to {len(real)}."
        )
    if not 0 <= sizes.repeats <= sizes.per_rater // 2:
        raise SweepError(
            f"--repeats {sizes.repeats}: repeated are pairs of a rater's first half, {sizes.per_rater // 2} at most."
        )
    rng = random.Random(opaque(salt, "walk"))
    walk = rng.sample(real, len(real))
    slots = []
    for mirror in range((sizes.slots + 1) // 2):
        start = mirror * sizes.per_rater
        seen = [walk[(start + j) % len(walk)] for j in range(sizes.per_rater)]
        rng = random.Random(opaque(salt, "sides", mirror))
        a_left = _half(seen, rng) | _half(checks, rng)
        for side in (False, True):
            slots.append(_sequence(pairs, seen, checks, a_left, side, sizes, opaque(salt, mirror, side)))
    return slots[: sizes.slots]


def _half(indices: Sequence[int], rng: random.Random) -> set[int]:
    """A random half; of an odd number the larger or the smaller one, by chance."""
    return set(rng.sample(indices, (len(indices) + rng.randrange(2)) // 2))


def _sequence(
    pairs: Sequence[Pair],
    seen: Sequence[int],
    checks: Sequence[int],
    a_left: set[int],
    exchanged: bool,
    sizes: Sizes,
    seed: str,
) -> list[Presentation]:
    rng = random.Random(seed)

    def shown(index: int, again: bool = False) -> Presentation:
        pair = pairs[index]
        favoured = pair.motion_of(TRUE if pair.check else A)
        left = (index in a_left) ^ exchanged ^ again
        return Presentation(pair=index, left=pair.motions.index(favoured) ^ (not left))

    order = rng.sample(seen, len(seen))
    sequence = [shown(index) for index in order]
    half = len(order) // 2
    for index in rng.sample(order[:half], sizes.repeats):
        # Behind the middle, and never next to its first showing.
        sequence.insert(
            rng.randint(max(half + 1, order.index(index) + 2), len(sequence)), shown(index, again=True)
        )
    # Checks are spread: one in each stretch, none as the very first screen.
    stretch = len(sequence) / max(1, len(checks))
    for i, index in reversed(list(enumerate(rng.sample(checks, len(checks))))):
        low, high = int(i * stretch), max(int(i * stretch), int((i + 1) * stretch) - 1)
        sequence.insert(1 + rng.randint(low, high), shown(index))
    return sequence
