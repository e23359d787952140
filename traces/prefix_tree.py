"""Block ids of a trace compiled to a path-compressed prefix tree. Knows no cache and no clock.

A node ("segment") is a run of blocks touched by exactly the same requests; a request is the
segment where its path ends. Blocks have dense keys: a key names a block together with
everything before it, segment i holds keys `first_key[i] .. first_key[i] + n_blocks[i] - 1`,
shallow to deep, and a parent always has a smaller segment number than its children.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from ..kernels import inner, kernel
from .hashing import numbered
from .schema import Trace

_DENSE_SLACK = 8
"""Ids are used as table indices when the largest is below this many times their number."""
_SEEN, _MARKED = 1, 2
_STRIDE_BITS = 7
"""Marks are counted ahead at every so many places, and between them when asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixTree:
    """The static prefix tree of a trace at one engine block size."""

    block_size: int
    """Tokens a block."""
    parent: NDArray[np.int32]
    """(n_segments,): parent segment, -1 at the root."""
    first_key: NDArray[np.int64]
    """(n_segments,): key of the shallowest block of the segment."""
    n_blocks: NDArray[np.int32]
    """(n_segments,): blocks in the segment, at least 1."""
    depth: NDArray[np.int32]
    """(n_segments,): blocks above the segment's first one."""
    end: NDArray[np.int32]
    """(n_requests,): segment where the request's path ends, -1 for an empty path."""

    @property
    def n_keys(self) -> int:
        """Distinct blocks in the trace."""
        return int(self.n_blocks.sum(dtype=np.int64))

    @property
    def path_blocks(self) -> NDArray[np.int64]:
        """(n_requests,): blocks on each request's path."""
        if not len(self.parent):
            return np.zeros(len(self.end), np.int64)
        n = (self.depth.astype(np.int64) + self.n_blocks)[self.end]
        return np.where(self.end >= 0, n, 0)

    def head(self, n: int) -> PrefixTree:
        """The tree of the first `n` requests, perhaps cut finer than they alone need."""
        n_segments = int(self.end[:n].max(initial=-1)) + 1
        return PrefixTree(
            block_size=self.block_size,
            parent=self.parent[:n_segments],
            first_key=self.first_key[:n_segments],
            n_blocks=self.n_blocks[:n_segments],
            depth=self.depth[:n_segments],
            end=self.end[:n],
        )

    def per_block(self) -> PrefixTree:
        """The same tree with every block a segment of its own (segment number = key)."""
        n_keys = self.n_keys
        last_key = self.first_key + self.n_blocks - 1
        parent = np.arange(-1, n_keys - 1, dtype=np.int32)
        up = self.parent
        parent[self.first_key] = np.where(up >= 0, last_key[up], -1)
        segment = np.repeat(np.arange(len(up)), self.n_blocks)
        depth = self.depth[segment] + (np.arange(n_keys) - self.first_key[segment])
        end = np.where(self.end >= 0, last_key[self.end], -1) if n_keys else self.end
        return PrefixTree(
            block_size=self.block_size,
            parent=parent,
            first_key=np.arange(n_keys, dtype=np.int64),
            n_blocks=np.ones(n_keys, np.int32),
            depth=depth.astype(np.int32),
            end=end.astype(np.int32),
        )


def uses_of(
    parent: NDArray[np.int32], end: NDArray[np.int32], is_counted: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """List the counted requests that touch each segment of a tree, in file order.

    Returns offsets (n_segments + 1,) and rows; segment s has `rows[offsets[s]:offsets[s + 1]]`.
    """
    offsets = np.zeros(len(parent) + 1, np.int64)
    _count_uses(parent, end, is_counted, offsets)
    np.cumsum(offsets, out=offsets)
    rows = np.empty(offsets[-1], np.int32)
    _list_uses(parent, end, is_counted, offsets[:-1].copy(), rows)
    return offsets, rows


def compile_tree(trace: Trace, block_size: int, *, partial_blocks: bool) -> PrefixTree:
    """Build the prefix tree of `trace` for engine blocks of `block_size` tokens.

    `partial_blocks=False` is what an engine caches: full blocks of prompt and, where the ids
    cover them, output tokens. `partial_blocks=True` is what published hit ratios count: every
    block of the prompt, a partial last one included.

    Positions p of a request carry the content (id of p // trace block, p % trace block), so a
    block's prefix is named by the chained id that holds its last token, and by which of that
    id's blocks it is; this holds for any two block sizes.

    Raises:
        TraceError: the block size is not positive.
    """
    if block_size < 1:
        raise TraceError(f"{trace.name}: block size must be at least 1 token, got {block_size}")
    if partial_blocks:
        covered = np.minimum(trace.covered_tokens, trace.input_tokens)
        n_path = -(-covered // block_size)
    else:
        # the last sampled token is never computed, so it completes no block
        covered = np.minimum(trace.covered_tokens, trace.total_tokens - 1)
        n_path = covered // block_size
    ids = _small_ids(trace.block_ids)
    n_ids = int(ids.max()) + 1 if len(ids) else 0
    per_id = -(-trace.block_size // block_size)
    if partial_blocks and trace.block_size % block_size:
        per_id += 1  # a partial block may end in the id before the one its full twin ends in
    path = _Paths(
        ids=ids,
        offsets=trace.block_offsets,
        n_blocks=n_path.astype(np.int64),
        covered=covered.astype(np.int64),
        trace_block=trace.block_size,
        block=block_size,
        per_id=per_id,
    )
    return _cut_into_segments(block_size, _new_blocks(path, n_ids * per_id))


class _Paths(NamedTuple):
    """The blocks of each request, and what tells two of them apart: see `_place`."""

    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    n_blocks: NDArray[np.int64]
    covered: NDArray[np.int64]
    trace_block: int
    block: int
    per_id: int


class _New(NamedTuple):
    """Of each request the blocks that no earlier one had, (n_requests,) each.

    Keys number blocks in order of first sight, so these have consecutive ones.
    """

    divergence: NDArray[np.int64]
    """Depth of the first one: blocks that an earlier request had."""
    base: NDArray[np.int64]
    """Key of the first one."""
    last: NDArray[np.int64]
    """Key of the path's last block, -1: it has none."""
    up: NDArray[np.int64]
    """Key of the last block that is not new, -1: none."""


def _new_blocks(path: _Paths, n_places: int) -> _New:
    n = len(path.n_blocks)
    new = _New(*(np.zeros(n, np.int64) for _ in _New._fields))
    before = np.zeros((n_places >> _STRIDE_BITS) + 1, np.int64)
    _lay_out(
        path,
        np.zeros(n_places, np.uint8),
        before,
        np.empty(n, np.int64),
        np.zeros(n, np.int64),
        new,
    )
    return new


@kernel
def _lay_out(
    path: _Paths,
    marks: NDArray[np.uint8],
    before: NDArray[np.int64],
    keys: NDArray[np.int64],
    shared: NDArray[np.int64],
    new: _New,
) -> None:
    """Fill `new`; the others are room: a mark for each place, and for what is said of those.

    Whether a block was seen before is monotone along a path, so a binary search finds where it
    parts from all earlier ones. Marks blocks as seen, and those that paths part behind as
    _MARKED. A byte a place: of what reading a trace takes this is the largest next to the ids.
    """
    ids, n_blocks = path.ids, path.n_blocks
    trace_block, block, per_id = path.trace_block, path.block, path.per_id
    for r in range(len(n_blocks)):
        start, covered = path.offsets[r], path.covered[r]
        seen, unseen = 0, n_blocks[r]
        while seen < unseen:
            k = (seen + unseen) // 2
            if marks[_place(ids, start, covered, k, trace_block, block, per_id)]:
                seen = k + 1
            else:
                unseen = k
        new.divergence[r] = seen
        if seen > 0:
            shared[r] = _place(ids, start, covered, seen - 1, trace_block, block, per_id)
            marks[shared[r]] = _MARKED
        for k in range(seen, n_blocks[r]):
            marks[_place(ids, start, covered, k, trace_block, block, per_id)] = _SEEN
    _count_before(marks, before)
    n_keys = 0
    for r in range(len(n_blocks)):
        start, covered = path.offsets[r], path.covered[r]
        first = new.divergence[r]
        new.base[r] = n_keys
        new.up[r] = keys[_rank(marks, before, shared[r])] if first > 0 else -1
        for k in range(first, n_blocks[r]):
            place = _place(ids, start, covered, k, trace_block, block, per_id)
            if marks[place] == _MARKED:
                keys[_rank(marks, before, place)] = n_keys
            n_keys += 1
        new.last[r] = n_keys - 1 if first < n_blocks[r] else new.up[r]


@inner
def _place(
    ids: NDArray[np.int64],
    start: int,
    covered: int,
    depth: int,
    trace_block: int,
    block: int,
    per_id: int,
) -> int:
    """Return a block's place in a table of all: by the id of its last token, and where in that.

    The request's ids begin at `start` and stand for `covered` tokens.
    """
    if trace_block == block:
        return int(ids[start + depth])
    j = (min((depth + 1) * block, covered) - 1) // trace_block
    return int(ids[start + j] * per_id + depth - j * trace_block // block)


@inner
def _count_before(marks: NDArray[np.uint8], before: NDArray[np.int64]) -> int:
    """Write how many are _MARKED before every _STRIDE-th place; return how many are in all."""
    n = 0
    for i in range(len(before)):
        before[i] = n
        for place in range(i << _STRIDE_BITS, min((i + 1) << _STRIDE_BITS, len(marks))):
            n += marks[place] == _MARKED
    return n


@inner
def _rank(marks: NDArray[np.uint8], before: NDArray[np.int64], place: int) -> int:
    """Return how many are _MARKED before a place: a table of all numbers would take much more."""
    stride = place >> _STRIDE_BITS
    n = before[stride]
    for i in range(stride << _STRIDE_BITS, place):
        n += marks[i] == _MARKED
    return int(n)


@kernel
def _count_uses(
    parent: NDArray[np.int32],
    end: NDArray[np.int32],
    is_counted: NDArray[np.bool_],
    offsets: NDArray[np.int64],
) -> None:
    for r in range(len(end)):
        segment = end[r] if is_counted[r] else -1
        while segment >= 0:
            offsets[segment + 1] += 1
            segment = parent[segment]


@kernel
def _list_uses(
    parent: NDArray[np.int32],
    end: NDArray[np.int32],
    is_counted: NDArray[np.bool_],
    at: NDArray[np.int64],
    rows: NDArray[np.int32],
) -> None:
    for r in range(len(end)):
        segment = end[r] if is_counted[r] else -1
        while segment >= 0:
            rows[at[segment]] = r
            at[segment] += 1
            segment = parent[segment]


def _cut_into_segments(block_size: int, new: _New) -> PrefixTree:
    """Cut each request's run of new keys where a path ends or another branches off."""
    n_keys = int(new.last.max(initial=-1)) + 1
    ends = np.zeros(n_keys, np.uint8)
    ends[new.last[new.last >= 0]] = _MARKED
    ends[new.up[new.up >= 0]] = _MARKED
    n_segments = int(np.count_nonzero(ends))
    tree = PrefixTree(
        block_size=block_size,
        parent=np.empty(n_segments, np.int32),
        first_key=np.empty(n_segments, np.int64),
        n_blocks=np.empty(n_segments, np.int32),
        depth=np.empty(n_segments, np.int32),
        end=np.full(len(new.last), -1, np.int32),
    )
    before = np.zeros((n_keys >> _STRIDE_BITS) + 1, np.int64)
    _cut(new, ends, before, tree.parent, tree.first_key, tree.n_blocks, tree.depth, tree.end)
    return tree


@kernel
def _cut(
    new: _New,
    ends: NDArray[np.uint8],
    before: NDArray[np.int64],
    parent: NDArray[np.int32],
    first_key: NDArray[np.int64],
    n_blocks: NDArray[np.int32],
    depth: NDArray[np.int32],
    end: NDArray[np.int32],
) -> None:
    """Write the segments, in the order of their keys, and the requests' ends."""
    _count_before(ends, before)
    segment = 0
    for r in range(len(end)):
        last, up = new.last[r], new.up[r]
        if last == up:  # nothing new
            if last >= 0:
                end[r] = _rank(ends, before, last)
            continue
        above = _rank(ends, before, up) if up >= 0 else -1
        key = new.base[r]
        while key <= last:
            first = key
            while ends[key] != _MARKED:
                key += 1
            key += 1
            parent[segment] = above
            first_key[segment] = first
            n_blocks[segment] = key - first
            depth[segment] = new.divergence[r] + first - new.base[r]
            above = segment
            segment += 1
        end[r] = above


def _small_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ids usable as table indices: the same array where they already are."""
    if not len(ids):
        return ids
    if int(ids.min()) >= 0 and int(ids.max()) < _DENSE_SLACK * len(ids) + 1024:
        return ids
    return numbered(ids)
