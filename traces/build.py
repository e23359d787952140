"""From a file's rows to a checked `Trace`: what holds for every format. Knows no format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from .block_size import LARGEST_BLOCK_SIZE, infer_block_size
from .chain import chained_ids
from .hashing import numbered, spans
from .rows import Rows, wrong
from .schema import Sessions, Trace
from .sessions import infer_sessions, link_turns

NO_IDS = "no block ids: no request shares a prefix with another, so nothing can hit"
"""What a trace of a format without prefixes says of itself."""


def build(rows: Rows, *, name: str | None = None, block_size: int | None = None) -> Trace:
    """Drop empty requests, sort by arrival, settle block size, chain ids, find sessions.

    Raises:
        TraceError: rows contradict each other, the block size, or what the file says of itself.
    """
    _check_request_ids(rows)
    request_id = rows.row if rows.request_id is None else rows.request_id
    if rows.children_show_outputs:
        from .outputs import with_outputs_of_children

        rows = with_outputs_of_children(rows, _block_size(rows, block_size))
    rows = _usable(replace(rows, request_id=request_id))
    size = _block_size(rows, block_size)
    trace = Trace(
        name=name or rows.name or rows.paths[0].name,
        block_size=size,
        request_id=request_id[:0] if rows.request_id is None else rows.request_id,
        arrival_s=rows.arrival_s,
        input_tokens=rows.input_tokens,
        output_tokens=rows.output_tokens,
        parent=np.full(len(rows), -1),
        session=np.arange(len(rows)),
        turn=np.ones(len(rows), np.int64),
        category=np.zeros(len(rows), np.int64) if rows.category is None else rows.category,
        category_names=rows.category_names,
        block_ids=_chained(rows),
        block_offsets=rows.block_offsets,
        covered_tokens=_covered(rows, size),
        sessions=Sessions.NONE,
        think_s=rows.think_s,
        recorded_e2e_s=rows.recorded_e2e_s,
        dropped=rows.dropped,
        notes=rows.notes,
    )
    if len(rows.block_ids) == 0 and not rows.says_chained:  # kvsim's own files have it already
        trace = replace(trace, notes=(*trace.notes, NO_IDS))
    if rows.session is None:
        return infer_sessions(trace) if len(rows.block_ids) else trace
    session = numbered(rows.session)
    if rows.parent is None or rows.turn is None:
        parent, turn = link_turns(session, rows.turn)
    else:
        parent, turn = _parents(rows, rows.parent, session), rows.turn
    return replace(trace, session=session, parent=parent, turn=turn, sessions=rows.sessions)


def _chained(rows: Rows) -> NDArray[np.int64]:
    # Small ids are checked in a second; for others a file's word spares a table of all of them.
    if rows.says_chained and spans(rows.block_ids) is None:
        return rows.block_ids
    return chained_ids(rows.block_ids, rows.block_offsets)


def _usable(rows: Rows) -> Rows:
    """Leave out requests without input or output, and sort by arrival."""
    no_input = rows.input_tokens == 0
    no_output = ~no_input & (rows.output_tokens == 0)
    dropped = dict(rows.dropped)
    for reason, found in (("no input", no_input), ("no output", no_output)):
        if n := int(found.sum()):
            dropped[reason] = dropped.get(reason, 0) + n
    order = np.argsort(rows.arrival_s, kind="stable")
    order = order[~(no_input | no_output)[order]]
    if len(order) == 0:
        counts = ", ".join(f"{n} with {reason}" for reason, n in dropped.items())
        reason = f" but requests that cannot run: {counts}" if dropped else ""
        raise TraceError(f"{rows.paths[0]}: a trace needs at least 1 request, got none{reason}")
    if len(order) < len(rows) or bool(np.any(np.diff(order) < 0)):
        rows = rows.take(order)
    return replace(rows, dropped=dropped)


def _named_tokens(rows: Rows) -> NDArray[np.int64]:
    """Return how many tokens each request's ids may name."""
    if rows.covered_tokens is not None:
        return rows.covered_tokens
    return rows.input_tokens + np.where(rows.names_output, rows.output_tokens, 0)


def _block_size(rows: Rows, asked: int | None) -> int:
    """Settle the block size, and check that no request has more ids than it has blocks."""
    if asked is not None and not 1 <= asked <= LARGEST_BLOCK_SIZE:
        raise TraceError(f"block size must be from 1 to {LARGEST_BLOCK_SIZE}, got {asked}")
    if None not in (asked, rows.block_size) and asked != rows.block_size:
        told = f"{rows.block_size} tokens as the file says, got {asked}"
        raise TraceError(f"{rows.paths[0]}: block size must be {told}")
    tokens, n_ids = _named_tokens(rows), np.diff(rows.block_offsets)
    size = asked or rows.block_size or infer_block_size(tokens, n_ids)
    most = -(-tokens // size)
    excess = np.flatnonzero(n_ids > most)
    if len(excess):
        i = int(excess[0])
        must = f"at most {most[i]} ids for {tokens[i]} tokens in blocks of {size}"
        raise TraceError(f"{rows.where(i)}: block ids must be {must}, got {n_ids[i]}")
    return size


def _covered(rows: Rows, block_size: int) -> NDArray[np.int64]:
    room = np.diff(rows.block_offsets) * block_size
    excess = np.flatnonzero(_named_tokens(rows) > room)
    if rows.covered_tokens is not None and len(excess):
        i = int(excess[0])
        must = f"at most {room[i]}, what the block ids name"
        raise wrong(rows.where(i), "covered_tokens", must, int(rows.covered_tokens[i]))
    covered: NDArray[np.int64] = np.minimum(_named_tokens(rows), room)
    return covered


def _check_request_ids(rows: Rows) -> None:
    if rows.request_id is None:
        return
    if rows.request_id.dtype.kind == "i":
        numbers = rows.request_id.astype(np.int64, copy=False)
        if bool(np.all(numbers[1:] > numbers[:-1])):
            return  # in order, as most are: no need for a table of all
    if len(np.unique(rows.request_id)) == len(rows):
        return
    order = np.argsort(rows.request_id, kind="stable")
    in_order = rows.request_id[order]
    i = int(order[1:][in_order[1:] == in_order[:-1]].min())
    raise wrong(rows.where(i), "request_id", "unique in the trace", rows.request_id[i].item())


def _parents(
    rows: Rows, parent: NDArray[np.int64], session: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Renumber parents from rows of the file to rows of the trace, and check them."""
    place = np.full(len(rows.line) + 1, -1)  # the last entry stands for "none"
    place[rows.row] = np.arange(len(rows))
    known = (parent >= -1) & (parent < len(rows.line))
    moved = place[np.where(known, parent, -1)]
    has_parent = moved >= 0
    astray = ~known | (moved >= np.arange(len(rows)))
    astray |= has_parent & (session[moved] != session)
    if astray.any():
        i = int(np.argmax(astray))
        raise wrong(rows.where(i), "parent_id", "an earlier row of the session", int(parent[i]))
    return moved
