"""The longest path through each block, for a cache that sees blocks but no whole paths, compiled.

Who sees the paths notes their lengths, and offers the candidates of a path anew when it has grown.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..kernels import array_of, inner

PATH_LENGTHS = np.dtype([(n, "i8") for n in ("n_keys", "n_runs", "run_of", "lengths")])
"""Sizes and addresses."""

PathLengths = int  # the address of a record of PATH_LENGTHS


_run_of = array_of(PATH_LENGTHS, "run_of", "n_keys", np.int32, {})
"""(n_keys,): which run of blocks, used by the same requests, a key belongs to."""
_lengths = array_of(PATH_LENGTHS, "lengths", "n_runs", np.int32, {})
"""(n_runs,): blocks of the longest path through each run so far."""


@inner
def longest_through(p: PathLengths, key: int) -> int:
    """Blocks of the longest path through a key so far; 0 if none is known."""
    return int(_lengths(p)[_run_of(p)[key]])


def make_path_lengths(run_of: NDArray[np.int32], lengths: NDArray[np.int32]) -> NDArray[Any]:
    """Make the record; who holds its address keeps it and the arrays alive."""
    record = np.zeros(1, PATH_LENGTHS)
    record["n_keys"], record["n_runs"] = len(run_of), len(lengths)
    record["run_of"], record["lengths"] = run_of.ctypes.data, lengths.ctypes.data
    return record
