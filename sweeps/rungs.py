"""After how many epochs ASHA and Hyperband compare trials: what stops them, and what an estimate takes them to spare."""

from __future__ import annotations

# At a rung the best third goes on.
REDUCTION = 3


def rungs(first: int, last: int) -> list[int]:
    """Epochs `first`, 3 `first`, 9 `first`, ... no later than `last`."""
    found = [first]
    while found[-1] * REDUCTION <= last:
        found.append(found[-1] * REDUCTION)
    return found


def asha_rungs(epochs: int) -> list[int]:
    """Of trials of so many epochs, two or more: a quarter and three quarters.

    The last rung lies before the last epoch, which ends by itself.
    """
    return rungs(max(1, epochs // 4), epochs - 1)
