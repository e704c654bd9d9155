"""Errors per clip of several seeds averaged, and of several folds joined: what `evaluation.average_seeds` and
`join_folds` give, from the sums that are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trainables.clip_errors import ClipErrors


def average_seeds(errors: Sequence[ClipErrors]) -> ClipErrors:
    """One record of several seeds of a configuration: every window's figures and counts averaged over the seeds.

    A sum of averages over windows is the average of the sums, since what is known of a window (and so the number of
    windows that are summed) does not depend on the seed. The contact threshold is the seeds' mean, for display.

    Raises:
        ValueError: the windows differ.
    """
    first = errors[0]
    for other in errors[1:]:
        same = other.clip_ids == first.clip_ids and other.totals.keys() == first.totals.keys()
        if not same or any(
            (other.totals[name][:, 1] != totals_C2[:, 1]).any() for name, totals_C2 in first.totals.items()
        ):
            raise ValueError(
                "seeds can be averaged only over the same windows and metrics; evaluate them on one part"
            )
    return replace(
        first,
        contact_threshold=float(np.mean([e.contact_threshold for e in errors])),
        totals={name: np.mean([e.totals[name] for e in errors], axis=0) for name in first.totals},
        counts_C3=np.mean([e.counts_C3 for e in errors], axis=0),
        finger_counts_CF3=np.mean([e.finger_counts_CF3 for e in errors], axis=0),
    )


def join_folds(errors: Sequence[ClipErrors]) -> ClipErrors:
    """One record of several folds, each group held out once, by another model of the same configuration.

    Raises:
        ValueError: a held-out group occurs in two folds, or the folds are not of one group.
    """
    first = errors[0]
    seen: set[str] = set()
    for fold in errors:
        if fold.group != first.group or fold.totals.keys() != first.totals.keys():
            raise ValueError("folds of different groups or metrics cannot be joined")
        if twice := seen & set(fold.groups):
            raise ValueError(f"{first.group} {min(twice)!r} is tested in two folds; each is held out once")
        seen |= set(fold.groups)
    return replace(
        first,
        groups=[group for e in errors for group in e.groups],
        clip_ids=[clip for e in errors for clip in e.clip_ids],
        contact_threshold=float(np.mean([e.contact_threshold for e in errors])),
        totals={name: np.concatenate([e.totals[name] for e in errors]) for name in first.totals},
        counts_C3=np.concatenate([e.counts_C3 for e in errors]),
        finger_counts_CF3=np.concatenate([e.finger_counts_CF3 for e in errors]),
    )
