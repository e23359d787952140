"""Who continues whom: turns from session names, or from shared prefixes. Knows no file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..kernels import jitted
from .hashing import find
from .schema import Sessions, Trace


def infer_sessions(trace: Trace) -> Trace:
    """Find conversations in a trace that names none.

    A request continues an earlier one if the last full block of the earlier one is among its
    own full prompt blocks: the earlier one whose last full block is deepest, and of those with
    the same last full block the latest. A request with fewer than two full blocks is never
    continued: its only block may be a system prompt that strangers share.
    """
    prompt = np.minimum(trace.input_tokens, trace.covered_tokens) // trace.block_size
    whole = trace.covered_tokens // trace.block_size
    parent: NDArray[np.int64] = _continued(trace.block_ids, trace.block_offsets, prompt, whole)
    turn, session = _count(parent)
    return replace(trace, parent=parent, turn=turn, session=session, sessions=Sessions.INFERRED)


def link_turns(
    session: NDArray[np.int64], turn: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (parent, turn) of rows in arrival order whose sessions are known.

    The parent is the latest earlier row of the session with a smaller turn; where the turns are
    not given, the previous row, and the turn counts the rows.
    """
    if turn is None:
        parent: NDArray[np.int64] = _previous(session)
        return parent, _count(parent)[0]
    return _previous_turn(session, turn), turn


def roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first ancestor of each row, itself where it has no parent (-1).

    Parents may come later in the file; a row that descends from itself is its own root.
    """
    found: NDArray[np.int64] = _roots(parent)
    return found


def numbered(names: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return dense numbers for `names`, from 0 in the order of first occurrence."""
    _, first, code = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    numbers: NDArray[np.int64] = rank[code]
    return numbers


@jitted
def _roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    root = np.empty(parent.size, np.int64)
    for row in range(parent.size):
        at = row
        n_steps = 0
        while parent[at] >= 0 and n_steps <= parent.size:
            if parent[at] < row:
                at = root[parent[at]]  # known already
                break
            at = parent[at]
            n_steps += 1
        root[row] = at if n_steps <= parent.size else row
    return root


@jitted
def _continued(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    prompt_blocks: NDArray[np.int64],
    whole_blocks: NDArray[np.int64],
) -> NDArray[np.int64]:
    n_rows = offsets.size - 1
    parent = np.full(n_rows, -1, np.int64)
    n_slots = 1 << 4
    while n_slots < 4 * n_rows:
        n_slots *= 2
    slots = np.full(n_slots, -1, np.int32)
    ends = np.empty(n_rows, np.int64)  # last full blocks, numbered as they came
    latest = np.empty(n_rows, np.int64)  # the latest row that ends there
    n = 0
    deepest = 0
    for row in range(n_rows):
        start = offsets[row]
        # No earlier request ends deeper than `deepest`, nor in the first block.
        for depth in range(min(prompt_blocks[row] - 1, deepest), 0, -1):
            number = slots[find(slots, ends, ids[start + depth])]
            if number >= 0:
                parent[row] = latest[number]
                break
        last = whole_blocks[row] - 1
        if last >= 1:
            deepest = max(deepest, last)
            slot = find(slots, ends, ids[start + last])
            if slots[slot] < 0:
                slots[slot], ends[n] = n, ids[start + last]
                n += 1
            latest[slots[slot]] = row
    return parent


@jitted
def _count(parent: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    turn = np.ones(parent.size, np.int64)
    session = np.empty(parent.size, np.int64)
    n_sessions = 0
    for row in range(parent.size):
        if parent[row] >= 0:
            turn[row] = turn[parent[row]] + 1
            session[row] = session[parent[row]]
        else:
            session[row] = n_sessions
            n_sessions += 1
    return turn, session


@jitted
def _previous(session: NDArray[np.int64]) -> NDArray[np.int64]:
    latest = np.full(session.max() + 1, -1, np.int64)
    parent = np.empty(session.size, np.int64)
    for row in range(session.size):
        parent[row] = latest[session[row]]
        latest[session[row]] = row
    return parent


@jitted
def _previous_turn(session: NDArray[np.int64], turn: NDArray[np.int64]) -> NDArray[np.int64]:
    latest = np.full(session.max() + 1, -1, np.int64)
    parent = np.empty(session.size, np.int64)
    for row in range(session.size):
        before = latest[session[row]]
        # What lies between a row and its parent has no smaller turn, so it can be skipped.
        while before >= 0 and turn[before] >= turn[row]:
            before = parent[before]
        parent[row] = before
        latest[session[row]] = row
    return parent
