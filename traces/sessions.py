"""Who continues whom: turns from session names, or from shared prefixes. Knows no file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..kernels import kernel
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
    n_rows = len(prompt)
    parent = np.full(n_rows, -1, np.int64)
    slots = np.full(1 << max(4, (4 * n_rows - 1).bit_length()), -1, np.int32)
    room = np.empty(n_rows, np.int64), np.empty(n_rows, np.int64)
    _continued(trace.block_ids, trace.block_offsets, prompt, whole, slots, *room, parent)
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
        parent = _previous(session, np.arange(session.size))
        return parent, _count(parent)[0]
    return _previous(session, turn), turn


def roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first ancestor of each row, itself where it has no parent (-1).

    Parents may come later in the file; a row that descends from itself is its own root.
    """
    root = np.empty(parent.size, np.int64)
    _find_roots(parent, root)
    return root


@kernel
def _find_roots(parent: NDArray[np.int64], root: NDArray[np.int64]) -> None:
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


@kernel
def _continued(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    prompt_blocks: NDArray[np.int64],
    whole_blocks: NDArray[np.int64],
    slots: NDArray[np.int32],
    ends: NDArray[np.int64],
    latest: NDArray[np.int64],
    parent: NDArray[np.int64],
) -> None:
    """Fill `parent`. `ends` takes last full blocks as they come, `latest` the row that ends there.

    Both have a place for each row, and `slots` twice as many and more, all -1.
    """
    n = 0
    deepest = 0
    for row in range(offsets.size - 1):
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


def _count(parent: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    turn = np.ones(parent.size, np.int64)
    session = np.empty(parent.size, np.int64)
    _count_turns(parent, turn, session)
    return turn, session


@kernel
def _count_turns(
    parent: NDArray[np.int64], turn: NDArray[np.int64], session: NDArray[np.int64]
) -> None:
    n_sessions = 0
    for row in range(parent.size):
        if parent[row] >= 0:
            turn[row] = turn[parent[row]] + 1
            session[row] = session[parent[row]]
        else:
            session[row] = n_sessions
            n_sessions += 1


def _previous(session: NDArray[np.int64], turn: NDArray[np.int64]) -> NDArray[np.int64]:
    latest = np.full(session.max() + 1, -1, np.int64)
    parent = np.empty(session.size, np.int64)
    _find_previous(session, turn, latest, parent)
    return parent


@kernel
def _find_previous(
    session: NDArray[np.int64],
    turn: NDArray[np.int64],
    latest: NDArray[np.int64],
    parent: NDArray[np.int64],
) -> None:
    for row in range(session.size):
        before = latest[session[row]]
        # What lies between a row and its parent has no smaller turn, so it can be skipped.
        while before >= 0 and turn[before] >= turn[row]:
            before = parent[before]
        parent[row] = before
        latest[session[row]] = row
