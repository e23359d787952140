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

    def uses(self, is_counted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """List the counted requests that touch each segment, in file order.

        Returns offsets (n_segments + 1,) and rows; segment s has `rows[offsets[s]:offsets[s + 1]]`.
        """
        offsets = np.zeros(len(self.parent) + 1, np.int64)
        _count_uses(self.parent, self.end, is_counted, offsets)
        np.cumsum(offsets, out=offsets)
        rows = np.empty(offsets[-1], np.int32)
        _list_uses(self.parent, self.end, is_counted, offsets[:-1].copy(), rows)
        return offsets, rows

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
    laid_out = _Layout(
        divergence=np.zeros(len(n_path), np.int32),
        base=np.full(len(n_path), -1, np.int64),
        up=np.full(len(n_path), -1, np.int64),
        last=np.full(len(n_path), -1, np.int64),
    )
    n_keys = _lay_out(
        ids,
        trace.block_offsets,
        n_path.astype(np.int64),
        covered.astype(np.int64),
        trace.block_size,
        block_size,
        per_id,
        np.full(n_ids * per_id, -1, np.int32),
        laid_out,
    )
    return _cut_into_segments(laid_out, n_keys, block_size)


class _Layout(NamedTuple):
    """Where the paths of the requests lie among the keys; each field is (n_requests,)."""

    divergence: NDArray[np.int32]
    """The depth of its first new block."""
    base: NDArray[np.int64]
    """That block's key, -1 for none."""
    up: NDArray[np.int64]
    """The key of its last shared block, -1 for none."""
    last: NDArray[np.int64]
    """The key of its last block, -1 for none."""


@kernel
def _lay_out(
    ids: NDArray[np.int64],
    offsets: NDArray[np.int64],
    n_path: NDArray[np.int64],
    covered: NDArray[np.int64],
    trace_block: int,
    block: int,
    per_id: int,
    key_of: NDArray[np.int32],
    out: _Layout,
) -> int:
    """Number blocks in order of first sight; a request's new blocks are consecutive.

    Whether a block was seen before is monotone along a path, so the first new one is found by
    binary search. Fills `out`; returns the number of keys.
    """
    n_keys = 0
    for r in range(len(n_path)):
        n = n_path[r]
        if n == 0:
            continue
        start = offsets[r]
        seen, unseen = 0, n
        while seen < unseen:
            k = (seen + unseen) // 2
            if key_of[_place(ids, start, covered[r], k, trace_block, block, per_id)] >= 0:
                seen = k + 1
            else:
                unseen = k
        if seen > 0:
            out.up[r] = key_of[_place(ids, start, covered[r], seen - 1, trace_block, block, per_id)]
        out.divergence[r] = seen
        if seen < n:
            out.base[r] = n_keys
        for k in range(seen, n):
            key_of[_place(ids, start, covered[r], k, trace_block, block, per_id)] = n_keys
            n_keys += 1
        out.last[r] = out.up[r] if seen == n else n_keys - 1
    return n_keys


@inner
def _place(
    ids: NDArray[np.int64],
    start: int,
    covered: int,
    k: int,
    trace_block: int,
    block: int,
    per_id: int,
) -> int:
    """Where the table of keys has the k-th block of a path whose ids begin at `start`."""
    j = (min((k + 1) * block, covered) - 1) // trace_block
    return int(ids[start + j] * per_id + k - j * trace_block // block)


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


def _cut_into_segments(laid_out: _Layout, n_keys: int, block_size: int) -> PrefixTree:
    """Cut each request's run of new keys where a path ends or another branches off."""
    number = np.zeros(n_keys, np.int32)  # first: whether a segment ends here; then: its number
    number[laid_out.last[laid_out.last >= 0]] = 1
    number[laid_out.up[laid_out.up >= 0]] = 1
    n_segments = int(number.sum())
    number[1:] = np.cumsum(number[:-1], dtype=np.int32)
    number[:1] = 0
    tree = PrefixTree(
        block_size=block_size,
        parent=np.empty(n_segments, np.int32),
        first_key=np.empty(n_segments, np.int64),
        n_blocks=np.empty(n_segments, np.int32),
        depth=np.empty(n_segments, np.int32),
        end=np.full(len(laid_out.last), -1, np.int32),
    )
    _fill_segments(
        laid_out, number, tree.parent, tree.first_key, tree.n_blocks, tree.depth, tree.end
    )
    return tree


@kernel
def _fill_segments(
    laid_out: _Layout,
    number: NDArray[np.int32],
    parent: NDArray[np.int32],
    first_key: NDArray[np.int64],
    n_blocks: NDArray[np.int32],
    depth: NDArray[np.int32],
    end: NDArray[np.int32],
) -> None:
    """Write the segments, and the segment where each request ends; `number` is each key's."""
    for r in range(len(end)):
        last = laid_out.last[r]
        if last < 0:
            continue
        end[r] = number[last]
        base, up = laid_out.base[r], laid_out.up[r]
        if base < 0:
            continue
        above = number[up] if up >= 0 else -1
        key = base
        for segment in range(number[key], end[r] + 1):
            parent[segment] = above
            above = segment
            first_key[segment] = key
            depth[segment] = laid_out.divergence[r] + key - base
            while key <= last and number[key] == segment:
                key += 1
            n_blocks[segment] = key - first_key[segment]


def _small_ids(ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return ids usable as table indices: the same array where they already are."""
    if not len(ids):
        return ids
    if int(ids.min()) >= 0 and int(ids.max()) < _DENSE_SLACK * len(ids) + 1024:
        return ids
    return numbered(ids)
