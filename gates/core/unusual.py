"""Whether an amount is unusual among earlier ones. Pure.

Robust: by the median and the median absolute deviation, which a few outliers do not move (F. R.
Hampel, "The influence curve and its role in robust estimation", 1974). Nothing is said of too
short a past.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

FEWEST = 5  # amounts that make a past
TO_SIGMA = 1.4826  # of a normal distribution, whose deviation the MAD estimates
LEAST_SPREAD = 0.05  # of the median: among equal amounts every other one would be unusual


def deviation(amount: int, before: Sequence[int]) -> float | None:
    """How many spreads above the usual it is; None where there is no past to compare with."""
    if len(before) < FEWEST:
        return None
    usual = median(before)
    spread = TO_SIGMA * median(abs(one - usual) for one in before)
    return (amount - usual) / max(spread, LEAST_SPREAD * abs(usual), 1.0)
