"""Seeds averaged and folds joined from sums per clip are what the windows themselves give."""

from __future__ import annotations

import pytest
from test_trivial import off_by, windows

from trainables import evaluation, joined_errors
from trainables.clip_errors import paired_difference
from trainables.evaluate import evaluate


def test_sums_give_what_windows_give() -> None:
    test = windows(6)
    test.fields["camera_known_BT"][3] = False
    one, two = (evaluate(off_by(d, contact=c), test, "object") for d, c in ((0.01, 20.0), (0.03, -1.0)))
    slow = evaluation.average_seeds([one, two]).per_clip()
    quick = joined_errors.average_seeds([one.per_clip(), two.per_clip()])
    assert quick.means() == pytest.approx(slow.means(), nan_ok=True)
    for metric in ("mpjpe_cm", "contact_f1"):
        assert quick.interval(metric).low == pytest.approx(slow.interval(metric).low)
        ours = paired_difference(quick, one.per_clip(), metric)
        assert ours.high == pytest.approx(paired_difference(slow, one.per_clip(), metric).high)
    first = one.group_W == "object-0"
    parts = [one.where(first), two.where(~first)]
    joined = joined_errors.join_folds([part.per_clip() for part in parts])
    slow = evaluation.join_folds(parts).per_clip()
    assert sorted(joined.clip_ids) == sorted(slow.clip_ids)
    assert joined.means() == pytest.approx(slow.means(), nan_ok=True)
    assert joined.contact_threshold == slow.contact_threshold


def test_what_does_not_belong_together_is_refused() -> None:
    test = windows(6)
    one = evaluate(off_by(0.01), test, "object")
    whole, part = one.per_clip(), one.where(one.group_W == "object-0").per_clip()
    with pytest.raises(ValueError, match="same windows"):
        joined_errors.average_seeds([whole, part])
    with pytest.raises(ValueError, match="two folds"):
        joined_errors.join_folds([whole, part])
