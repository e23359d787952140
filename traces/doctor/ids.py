"""Checks of what block ids mean: chained or contents, unbroken prefixes, hashes cut short."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .case import Case
from .finding import Finding, Severity, good

_BROKEN = 0.002
"""Share of ambiguous ids up to which they are accidents; Bailian's content ids have 0.007."""


def chained(case: Case) -> Finding:
    """Does an id name its block only, or all blocks before it too?"""
    if not case.has_ids or not _are_contents(case):
        return good("chained ids")
    scan = case.scan
    raw = _dense(case.rows.block_ids)
    return Finding(
        check="chained ids",
        severity=Severity.NOTE,
        what=f"ids name contents of single blocks: {scan.n_ambiguous:,} of {scan.n_distinct:,} "
        f"follow more than one other, {scan.n_moving:,} stand at more than one position "
        f"({case.where(scan.first_row)})",
        effect=f"taken for prefixes they over-count reuse: ideal hit ratio "
        f"{case.ideal_hit_ratio(ids=raw):.4f} instead of {case.ideal_hit_ratio():.4f}; kvsim "
        "chains them",
        remedy="--fix writes chained ids, which other tools read right",
        fix=lambda rows: rows,
    )


def closure(case: Case) -> Finding:
    """Is what precedes an id always the same?"""
    if not case.has_ids:
        return good("prefix closure")
    scan = case.scan
    if scan.n_repeated and not _are_contents(case):
        return Finding(
            check="prefix closure",
            severity=Severity.WRONG,
            what=f"ids occur {scan.n_repeated:,} times again within their own request "
            f"({case.where(max(scan.first_row, 0))})",
            effect="no prefix contains itself: such ids are mistakes or collisions",
            remedy="--fix chains all ids anew, so that these stand for blocks of their own",
            fix=lambda rows: rows,
        )
    if scan.n_ambiguous == 0 or _are_contents(case):
        return good("prefix closure")
    raw = _dense(case.rows.block_ids)
    return Finding(
        check="prefix closure",
        severity=Severity.SUSPECT,
        what=f"{scan.n_ambiguous:,} of {scan.n_distinct:,} ids follow different ids in "
        f"{scan.n_ambiguous_rows:,} requests ({case.where(scan.first_row)}): collisions, or rows "
        "with ids missing",
        effect=f"those prefixes are cut off from the others: ideal hit ratio "
        f"{case.ideal_hit_ratio():.4f}, as the ids stand {case.ideal_hit_ratio(ids=raw):.4f}",
        remedy="--fix chains all ids anew; better, hash again with more bits",
        fix=lambda rows: rows,
    )


def width(case: Case) -> Finding:
    """Have hashes been cut to few bits, or rounded to floating-point numbers?"""
    if not case.has_ids:
        return good("hash width")
    ids = case.rows.block_ids
    n = case.scan.n_distinct
    magnitudes = ids.view(np.uint64) if ids.min() < 0 else ids.astype(np.uint64)
    high = int(magnitudes.max())
    bits = high.bit_length()
    if _are_counted(magnitudes):
        return good("hash width", "ids are numbers, not hashes")
    zeros = _common_zero_bits(magnitudes, 1 << 53)
    if zeros >= 5:
        return Finding(
            check="hash width",
            severity=Severity.SUSPECT,
            what=f"the last {zeros} bits of all large ids are 0: 64-bit hashes that went through a "
            "floating-point number",
            effect=_shared_by_accident(n, 53),
            remedy="write ids as strings, or with a library that keeps 64-bit integers",
        )
    expected = n * (n - 1) / 2.0 ** (bits + 1)
    if expected < 1:
        return good("hash width", f"{bits} bits")
    return Finding(
        check="hash width",
        severity=Severity.SUSPECT,
        what=f"{n:,} different hashes of {bits} bits",
        effect=_shared_by_accident(n, bits),
        remedy="hash again with 64 bits or more",
    )


def _are_counted(ids: NDArray[np.uint64]) -> bool:
    """Whether ids are consecutive numbers: most have their successor among the first million."""
    some = np.unique(ids[: 1 << 20])
    return len(some) < 2 or float((np.diff(some) == 1).mean()) > 0.5


def _shared_by_accident(n: int, bits: int) -> str:
    expected = n * (n - 1) / 2.0 ** (bits + 1)
    if expected < 0.1:
        return "different blocks may share an id, here hardly any: there are few blocks"
    return f"about {expected:,.3g} pairs of blocks share an id by accident and count as reuse"


def _common_zero_bits(ids: NDArray[np.uint64], least: int) -> int:
    """Return how many of the lowest bits are 0 in all ids of at least `least`."""
    large = ids[ids >= np.uint64(least)]
    if len(large) < 8:
        return 0
    together = int(np.bitwise_or.reduce(large))
    return (together & -together).bit_length() - 1


def _are_contents(case: Case) -> bool:
    """Whether so many ids are ambiguous that they must name contents, not prefixes."""
    return case.scan.n_ambiguous > max(_BROKEN * case.scan.n_distinct, 2)


def _dense(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    numbers: NDArray[np.int64] = np.unique(ids, return_inverse=True)[1]
    return numbers
