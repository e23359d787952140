"""Checks of whole requests: empty ones, doubles, names, sessions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..rows import Rows
from ..schema import Sessions
from .case import Case
from .finding import Finding, Severity, counted, good


def empty(case: Case) -> Finding:
    """Requests without input or without output."""
    rows = case.rows
    no_input = rows.input_tokens == 0
    no_output = ~no_input & (rows.output_tokens == 0)
    n_left_out = int(no_input.sum() + no_output.sum())
    if n_left_out == 0:
        return good("empty requests")
    i = int(np.argmax(no_input | no_output))
    return Finding(
        check="empty requests",
        severity=Severity.NOTE if n_left_out < 0.05 * len(rows) else Severity.SUSPECT,
        what=f"{int(no_input.sum()):,} rows have no input and {int(no_output.sum()):,} no output "
        f"({case.where(i)})",
        effect="they are left out and counted, so the load is lower than the file's number of rows",
        remedy="--fix leaves them out",
        fix=lambda rows: rows,
    )


def duplicates(case: Case) -> Finding:
    """Rows that are the same request again."""
    again = _again(case)
    if not len(again):
        return good("duplicates")
    share = len(again) / len(case.rows)
    effect = "load is counted twice"
    if case.has_ids:
        keep = np.ones(len(case.rows), np.bool_)
        keep[again] = False
        order = case.by_arrival
        without = case.ideal_hit_ratio(order[keep[order]])
        effect += f", and each double hits: ideal hit ratio {case.ideal_hit_ratio():.4f}, "
        effect += f"without them {without:.4f}"
    return Finding(
        check="duplicates",
        severity=Severity.SUSPECT if share > 0.001 else Severity.NOTE,
        what=f"{counted(len(again), 'row')} ({share:.2%}) the same as an earlier one in time, "
        f"lengths and blocks ({case.where(int(again[0]))})",
        effect=effect,
        remedy="--fix drops the repetitions; real retries differ in time",
        fix=lambda rows: _without(rows, _again(Case(rows))),
    )


def _again(case: Case) -> NDArray[np.int64]:
    """Return rows that repeat an earlier one, in the order of the file."""
    rows = case.rows
    columns = (rows.arrival_s, rows.input_tokens, rows.output_tokens, case.n_ids, case.last_id)
    order = np.lexsort((np.arange(len(rows)), *columns))
    is_same = np.ones(max(len(rows) - 1, 0), np.bool_)
    for column in columns:
        is_same &= np.diff(column[order]) == 0
    return np.sort(order[1:][is_same])


def _without(rows: Rows, left_out: NDArray[np.int64]) -> Rows:
    keep = np.ones(len(rows), np.bool_)
    keep[left_out] = False
    return rows.take(np.flatnonzero(keep))


def names(case: Case) -> Finding:
    """Request ids that are not unique."""
    again = _named_again(case.rows)
    if not len(again):
        return good("request ids")
    return Finding(
        check="request ids",
        severity=Severity.WRONG,
        what=f"{counted(len(again), 'row')} with the request id of an earlier one "
        f"({case.where(int(again[0]))})",
        effect="the file is refused: per-request results could not be told apart",
        remedy="--fix drops the later ones",
        fix=lambda rows: _without(rows, _named_again(rows)),
    )


def _named_again(rows: Rows) -> NDArray[np.int64]:
    if rows.request_id is None:
        return np.zeros(0, np.int64)
    _, first = np.unique(rows.request_id, return_index=True)
    is_first = np.zeros(len(rows), np.bool_)
    is_first[first] = True
    return np.flatnonzero(~is_first)


def sessions(case: Case) -> Finding:
    """Who continues whom: told, inferable, or unknown."""
    rows = case.rows
    if rows.session is not None and rows.sessions is Sessions.GIVEN:
        return good("sessions")
    if not case.has_ids:
        return Finding(
            check="sessions",
            severity=Severity.NOTE,
            what="there are no sessions, and no blocks to infer them from",
            effect="--closed-loop is the same as --open-loop; policies see first turns only",
            remedy="record session ids",
        )
    trace = case.trace
    if trace is None:
        return good("sessions", "unknown until the rest is put right")
    later = int((trace.parent >= 0).sum())
    return Finding(
        check="sessions",
        severity=Severity.NOTE,
        what=f"there are no sessions; from shared prefixes, {later:,} of {len(trace):,} requests "
        "continue an earlier one",
        effect="think times and turns are inferred, which --closed-loop and some policies rely on",
        remedy="record session ids; --fix writes the inferred ones",
        fix=lambda rows: rows,
    )
