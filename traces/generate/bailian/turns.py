"""Whether conversations go on, as the audits of the Qwen-Bailian traces count it."""

from __future__ import annotations


def hazards(first: float, early: float, middle: float, late: float) -> tuple[float, ...]:
    """Return the probability of a further turn after turn 1, 2-4, 5-9, and 10 and later.

    The audits count requests of turn 1, 2, 3-5, 6-10 and above: one number a boundary.
    """
    return (first, *[early] * 3, *[middle] * 5, late)
