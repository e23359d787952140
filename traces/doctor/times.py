"""Checks of arrival times: unit, order, ticks, silence, speed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..rows import Rows
from ..units import FASTEST_TOKENS_PER_S, turn_speeds, unit_of_unix_time
from .case import Case
from .finding import Finding, Severity, counted, good

_FEWEST = 20
"""Requests below which times tell nothing."""
_LONG_S = 14 * 86400.0
_SPARSE_PER_S = 0.02
_SLOW_TURN_S = 6 * 3600.0
_MOST_TOKENS_PER_S = 1e7
"""Prompt tokens a second beyond what traces of whole fleets show (Bailian: 35 k, Azure: 30 k)."""


def units(case: Case) -> Finding:
    """Seconds, milliseconds or nanoseconds: which unit makes the times possible?"""
    at, n = case.rows.arrival_s, len(case.rows)
    span_s = float(np.ptp(at)) if n else 0.0
    factor, why = _factor(case, span_s)
    offset = unit_of_unix_time(float(at.max(initial=0.0))) == 1.0
    if factor == 1.0 and not offset:
        return good("units")
    if factor == 1.0:
        return Finding(
            check="units",
            severity=Severity.NOTE,
            what=f"times are Unix seconds; the first request comes at {at.min():.0f} s",
            effect="results are the same, but times in them are dates",
            remedy="--fix lets the first request come at 0",
            fix=lambda rows: rescaled(rows, 1.0),
        )
    rate = n / span_s if span_s else 0.0
    return Finding(
        check="units",
        severity=Severity.WRONG,
        what=f"{why}: times look {_times(factor)} as they should be",
        effect=f"{rate:.3g} requests a second instead of {rate / factor:.3g}: load, queues and "
        "think times are off by as much; hit ratios of cache replays stay",
        remedy=f"--fix multiplies times by {factor:g}; or --time-scale {factor:g} in a replay",
        fix=lambda rows: rescaled(rows, factor),
    )


def _factor(case: Case, span_s: float) -> tuple[float, str]:
    """Return what times must be multiplied by, and why; 1 if they are plausible."""
    rows, n = case.rows, len(case.rows)
    known = rows if rows.session is not None else case.trace if case.has_ids else None
    if known is not None and known.session is not None:
        speeds = turn_speeds(known.arrival_s, known.session, known.output_tokens)
        speeds = speeds[speeds > 0]
        if len(speeds) >= 8 and float(np.median(speeds)) > FASTEST_TOKENS_PER_S:
            told = f"half of all turns imply more than {np.median(speeds):,.0f} output tokens/s"
            return 1000.0, told
        gaps = _turn_gaps(known.arrival_s, known.session)
        if len(gaps) >= 8 and float(np.median(gaps)) > _SLOW_TURN_S:
            hours = np.median(gaps) / 3600
            return 1e-3, f"half of all turns come {hours:,.0f} h after the one before, or later"
    largest = float(rows.arrival_s.max(initial=0.0))
    if 9e5 <= largest < 5e6 and span_s < 0.1 * largest:
        return 1000.0, "times are Unix seconds divided by 1000"
    if n < _FEWEST or span_s <= 0:
        return 1.0, ""
    tokens_per_s = float(rows.input_tokens.sum()) / span_s
    if tokens_per_s > _MOST_TOKENS_PER_S:
        return 1000.0, f"{tokens_per_s:.2g} prompt tokens arrive a second"
    factor = 1.0
    while span_s * factor > _LONG_S and n / (span_s * factor) < _SPARSE_PER_S:
        factor /= 1000.0
    if factor < 1.0:
        days = span_s / 86400
        return factor, f"{n:,} requests over {days:,.0f} days, one in {span_s / n:,.0f} s"
    return 1.0, ""


def _turn_gaps(arrival_s: NDArray[np.float64], session: NDArray[np.int64]) -> NDArray[np.float64]:
    order = np.lexsort((arrival_s, session))
    gaps = np.diff(arrival_s[order])
    found: NDArray[np.float64] = gaps[(np.diff(session[order]) == 0) & (gaps > 0)]
    return found


def _times(factor: float) -> str:
    return f"{1 / factor:,.0f} times as long" if factor < 1 else f"{factor:,.0f} times as short"


def rescaled(rows: Rows, factor: float) -> Rows:
    """Multiply times; dates begin at 0 afterwards."""
    at = rows.arrival_s * factor
    offset = unit_of_unix_time(float(at.max(initial=0.0))) == 1.0
    return replace(rows, arrival_s=at - at.min() if offset else at)


def order(case: Case) -> Finding:
    """Rows out of the order of arrival."""
    at = case.rows.arrival_s
    latest = np.maximum.accumulate(at) if len(at) else at
    behind = latest - at
    late = np.flatnonzero(behind > 0)
    if not len(late):
        return good("order")
    share = len(late) / len(at)
    by_session = case.rows.session is not None and _are_in_order(at, case.rows.session)
    is_odd = share > 0.2 and not by_session
    why = "; several clocks, or files put together?" if is_odd else ""
    if by_session:
        why = "; the file has one session after the other"
    i = int(np.argmax(behind))
    effect = "kvsim sorts by arrival; tools that replay the file's order do something else"
    if case.has_ids:
        here = case.ideal_hit_ratio()
        there = case.ideal_hit_ratio(np.arange(len(at)))
        effect += f" (ideal hit ratio {there:.4f} against {here:.4f})"
    return Finding(
        check="order",
        severity=Severity.SUSPECT if is_odd else Severity.NOTE,
        what=f"{len(late):,} of {len(at):,} rows ({share:.1%}) come after a later arrival, by up "
        f"to {behind[i]:,.3g} s ({case.where(i)}){why}",
        effect=effect,
        remedy="--fix writes them sorted; if the clock jumped, cut the file there",
        fix=lambda rows: rows,
    )


def _are_in_order(arrival_s: NDArray[np.float64], session: NDArray[np.int64]) -> bool:
    """Say whether each session's rows are in order of arrival among themselves."""
    order = np.lexsort((np.arange(len(session)), session))
    falls = np.diff(arrival_s[order]) < 0
    return not bool((falls & (np.diff(session[order]) == 0)).any())


def ticks(case: Case) -> Finding:
    """A clock too coarse for the traffic: many requests at the very same time."""
    at = case.rows.arrival_s
    distinct, counts = np.unique(at, return_counts=True)
    share = float(counts[counts > 1].sum()) / max(len(at), 1)
    if len(at) < _FEWEST or share < 0.3 or len(distinct) < 2:
        return good("clock ticks")
    tick_s = float(np.median(np.diff(distinct)))
    return Finding(
        check="clock ticks",
        severity=Severity.NOTE,
        what=f"{share:.0%} of requests share their arrival with others: the clock ticks every "
        f"{tick_s:.3g} s, with {len(at) / len(distinct):.1f} requests a tick",
        effect=f"they arrive up to {tick_s:.3g} s early and queue behind each other; hit ratios of "
        "cache replays stay",
        remedy="--fix spreads the requests of a tick evenly until the next, in their order",
        fix=_spread,
    )


def _spread(rows: Rows) -> Rows:
    """Space equal arrivals evenly up to the next tick; the last tick is as long as most."""
    order = np.argsort(rows.arrival_s, kind="stable")
    distinct, first, counts = np.unique(
        rows.arrival_s[order], return_index=True, return_counts=True
    )
    if len(distinct) < 2:
        return rows
    widths = np.diff(distinct)
    tick_s = float(np.median(widths))
    widths = np.minimum(np.append(widths, tick_s), tick_s)  # a silence is not spread over
    place = np.arange(len(order)) - np.repeat(first, counts)
    spread = np.empty(len(order))
    spread[order] = np.repeat(distinct, counts) + np.repeat(widths / counts, counts) * place
    return replace(rows, arrival_s=spread)


def gaps(case: Case) -> Finding:
    """Silence far longer than the traffic explains."""
    at = np.sort(case.rows.arrival_s)
    if len(at) < _FEWEST:
        return good("gaps")
    widths = np.diff(at)
    mean_s = float(at[-1] - at[0]) / len(widths)
    # the longest of n exponential gaps is about ln(n) means; sessions cluster, hence ten of them
    limit_s = max(10 * np.log(len(at)) * mean_s, 30.0)
    found = np.flatnonzero(widths > limit_s)
    if not len(found):
        return good("gaps")
    i = int(np.argmax(widths))
    silent = float(widths[found].sum()) / float(at[-1] - at[0])
    return Finding(
        check="gaps",
        severity=Severity.SUSPECT if silent > 0.1 else Severity.NOTE,
        what=f"{counted(len(found), 'silence')}, the longest of {widths[i]:,.0f} s, from "
        f"{at[i]:,.0f} s on: {silent:.0%} of the time (mean gap {mean_s:.3g} s)",
        effect="rates are averages over silence; time-based policies see all blocks age",
        remedy=f"if these are separate recordings, cut at {at[i]:,.0f} s and replay the parts",
    )


def rates(case: Case) -> Finding:
    """Speeds that no server reaches."""
    rows = case.rows
    told = []
    if rows.session is not None:
        speeds = turn_speeds(rows.arrival_s, rows.session, rows.output_tokens)
        n_fast = int((speeds > FASTEST_TOKENS_PER_S).sum())
        if n_fast > 0.01 * max(len(speeds), 1):
            told.append(
                f"{n_fast:,} of {len(speeds):,} turns arrive before the last one's output could be "
                f"there (at {FASTEST_TOKENS_PER_S:,.0f} tokens/s)"
            )
    if len(rows) >= _FEWEST:
        second = np.floor(rows.arrival_s - rows.arrival_s.min())
        _, of = np.unique(second, return_inverse=True)
        peak = float(np.bincount(of, rows.input_tokens).max())
        if peak > _MOST_TOKENS_PER_S:
            told.append(f"{peak:.2g} prompt tokens arrive within one second")
    if not told:
        return good("rates")
    return Finding(
        check="rates",
        severity=Severity.SUSPECT,
        what="; ".join(told),
        effect="open-loop replays overlap turns that never overlapped, and queue without bound",
        remedy="check units first; replay with --closed-loop, or scale with --time-scale",
    )
