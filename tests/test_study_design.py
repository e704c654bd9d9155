"""Who sees which pairs of a user study, in which order, and what stands left: balanced to the last screen."""

from __future__ import annotations

from collections import Counter

import pytest

from sweeps.errors import SweepError
from sweeps.study_design import TRUE, A, Pair, Presentation, Sizes, make_pairs, schedule


def made(clips: int, sizes: Sizes, salt: str = "salt") -> tuple[list[Pair], list[list[Presentation]]]:
    pairs = make_pairs(salt, clips, sizes.checks)
    return pairs, schedule(pairs, sizes, salt)


def favoured_left(pairs: list[Pair], shown: Presentation) -> bool:
    pair = pairs[shown.pair]
    return pair.sources[pair.motions[shown.left]] in (A, TRUE)


def firsts(slot: list[Presentation]) -> list[Presentation]:
    seen: set[int] = set()
    return [shown for shown in slot if not (shown.pair in seen or seen.add(shown.pair))]


@pytest.mark.parametrize("clips", [24, 9])
def test_sides_are_balanced_within_a_rater_and_over_every_two(clips: int) -> None:
    sizes = Sizes(per_rater=clips, checks=4, repeats=3, slots=20)
    pairs, slots = made(clips, sizes)
    real = {i for i, pair in enumerate(pairs) if not pair.check}
    for slot in slots:
        sides = [favoured_left(pairs, shown) for shown in firsts(slot) if shown.pair in real]
        assert len(sides) == clips and abs(2 * sum(sides) - clips) <= clips % 2
        checks = [favoured_left(pairs, shown) for shown in slot if shown.pair not in real]
        assert len(checks) == 4 and sum(checks) == 2
    for one, other in zip(slots[::2], slots[1::2], strict=True):
        left = [{shown.pair: favoured_left(pairs, shown) for shown in firsts(slot)} for slot in (one, other)]
        assert left[0].keys() == left[1].keys() and all(left[0][pair] != left[1][pair] for pair in left[0])
    # The order is each rater's own.
    assert len({tuple(shown.pair for shown in slot) for slot in slots}) == len(slots)


def test_repeats_come_late_with_exchanged_sides_and_checks_are_spread() -> None:
    sizes = Sizes(per_rater=12, checks=3, repeats=4, slots=40)
    pairs, slots = made(12, sizes)
    where: Counter[int] = Counter()
    for slot in slots:
        assert len(slot) == sizes.presentations == 19
        places: dict[int, list[int]] = {}
        for position, shown in enumerate(slot):
            places.setdefault(shown.pair, []).append(position)
        twice = {pair: found for pair, found in places.items() if len(found) > 1}
        assert len(twice) == 4 and not any(pairs[pair].check for pair in twice)
        for first, again in twice.values():
            assert again >= first + 2 and slot[first].left != slot[again].left
        checks = [found[0] for pair, found in places.items() if pairs[pair].check]
        assert min(checks) > 0 and min(checks) < 8 < max(checks)
        where.update(checks)
    assert len(where) > 12  # and nobody can know where


def test_pairs_get_equally_many_raters_where_each_sees_some() -> None:
    sizes = Sizes(per_rater=6, checks=0, repeats=0, slots=16)
    pairs, slots = made(24, sizes)
    counts = Counter(shown.pair for slot in slots for shown in slot)
    assert set(counts.values()) == {16 * 6 // 24} and len(counts) == 24
    left = Counter(shown.pair for slot in slots for shown in slot if favoured_left(pairs, shown))
    assert set(left.values()) == {2}


def test_ids_and_their_order_say_nothing() -> None:
    pairs = make_pairs("salt", 400, 0)
    a_first = sum(pair.sources[pair.motions[0]] == A for pair in pairs)
    assert 150 < a_first < 250
    ids = {motion for pair in pairs for motion in pair.motions} | {pair.pair for pair in pairs}
    assert len(ids) == 1200
    assert not ids & {motion for pair in make_pairs("other", 400, 0) for motion in pair.motions}


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(SweepError, match="--per-rater 9: there are 8 pairs"):
        made(8, Sizes(per_rater=9, checks=0, repeats=0, slots=2))
    with pytest.raises(SweepError, match="--repeats 5: .* 4 at most"):
        made(8, Sizes(per_rater=8, checks=0, repeats=5, slots=2))
