"""Quantiles of Student's t distribution. The gate needs no more of SciPy, and `zoo promote` waits for no import of it:
`from scipy.special import stdtrit` alone takes 0.26 to 0.52 s on two cores (three fresh processes, files in memory), a
whole promotion 37 ms (docs/zoo.md). tests/test_zoo_gate.py holds these against SciPy's.
"""

from __future__ import annotations

import math


def tail(t: float, dof: int) -> float:
    """P(T > t) for `dof` degrees of freedom, t >= 0.

    The finite series of Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(dof))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = dof % 2 == 1
    term, total = (cosine if odd else 1.0), 0.0
    for i in range(2 + odd, dof + 1, 2):
        total += term
        term *= cosine * cosine * (i - 1) / i
    inner = (angle + sine * total) * 2 / math.pi if odd else sine * total
    return max(0.0, (1 - inner) / 2)


def quantile(upper: float, dof: int) -> float:
    """The t with P(T > t) = `upper` (0 < upper <= 0.5), to about 1e-9 of it.

    Raises ValueError for another `upper`, or for less than one degree of freedom.
    """
    if not 0 < upper <= 0.5 or dof < 1:
        raise ValueError(f"no quantile for a tail of {upper} with {dof} degrees of freedom")
    low, high = 0.0, 1.0
    while tail(high, dof) > upper:
        low, high = high, 2 * high
    while high - low > 1e-10 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle, dof) > upper else (low, middle)
    return (low + high) / 2
