"""Block ids from who goes on from whom: every path is a part of an earlier one, then new blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...kernels import kernel


def block_paths(
    source: NDArray[np.int64],
    n_kept: NDArray[np.int64],
    n_blocks: NDArray[np.int64],
    *,
    n_hidden: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return chained ids and offsets of paths that begin as an earlier one does.

    Path r has `n_blocks[r]` blocks: the first `n_kept[r]` of path `source[r]` < r (no more than
    either has), then blocks that are new; source -1 keeps none. The first `n_hidden` paths are
    nobody's requests, only there to be shared, and are left out of the result. Ids are dense,
    in order of first occurrence.
    """
    offsets = np.zeros(len(source) + 1, np.int64)
    np.cumsum(n_blocks, out=offsets[1:])
    n_ids = int(offsets[-1] - offsets[n_hidden])
    ids = np.empty(n_ids, np.int64)
    hidden = np.empty(int(offsets[n_hidden]), np.int64)
    name = np.full(hidden.size, -1, np.int64)
    _lay(source, n_kept, offsets, n_hidden, hidden, name, ids)
    return ids, offsets[n_hidden:] - offsets[n_hidden]


@kernel
def _lay(
    source: NDArray[np.int64],
    n_kept: NDArray[np.int64],
    offsets: NDArray[np.int64],
    n_hidden: int,
    hidden: NDArray[np.int64],
    name: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> None:
    """Write the ids. Blocks of hidden paths have numbers; `name` is what each is called, or -1."""
    n_secret = 0
    for r in range(n_hidden):
        start = offsets[r]
        kept = n_kept[r] if source[r] >= 0 else 0
        for k in range(kept):
            hidden[start + k] = hidden[offsets[source[r]] + k]
        for k in range(kept, offsets[r + 1] - start):
            hidden[start + k] = n_secret
            n_secret += 1
    first = offsets[n_hidden]
    n_names = 0
    for r in range(n_hidden, source.size):
        start = offsets[r] - first
        n = offsets[r + 1] - offsets[r]
        s = source[r]
        kept = n_kept[r] if s >= 0 else 0
        if s >= n_hidden:
            for k in range(kept):
                ids[start + k] = ids[offsets[s] - first + k]
        else:
            for k in range(kept):
                block = hidden[offsets[s] + k]
                if name[block] < 0:
                    name[block] = n_names
                    n_names += 1
                ids[start + k] = name[block]
        for k in range(kept, n):
            ids[start + k] = n_names
            n_names += 1
