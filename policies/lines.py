"""A line of records linked both ways, oldest to newest, for compiled policies. Knows no policy.

A record of a line has the fields `older` and `newer`, the numbers of its neighbours or NOBODY, and
`n_blocks`, how many blocks it stands for; of what dtype it is else makes no difference.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels import inner

LINE = np.dtype([("n_blocks", "i8"), ("oldest", "i4"), ("newest", "i4")], align=True)
"""A line: the blocks of all its records, and its ends."""

NOBODY = -1

Line = Any  # a record of LINE
Members = Any  # (n,) of records that may be in a line


@inner
def line_up(members: Members, line: Line, x: int) -> None:
    """Put a record that is in no line at the newest end of one."""
    new = members[x]
    new.newer = NOBODY
    new.older = line.newest
    if line.newest == NOBODY:
        line.oldest = x
    else:
        members[line.newest].newer = x
    line.newest = x
    line.n_blocks += new.n_blocks


@inner
def line_up_behind(members: Members, line: Line, x: int, other: int) -> None:
    """Put a record right behind another one of a line, as its next newer."""
    new, before = members[x], members[other]
    new.older = other
    new.newer = before.newer
    before.newer = x
    if new.newer == NOBODY:
        line.newest = x
    else:
        members[new.newer].older = x
    line.n_blocks += new.n_blocks


@inner
def take_out(members: Members, line: Line, x: int) -> None:
    """Take a record out of its line."""
    gone = members[x]
    if gone.older == NOBODY:
        line.oldest = gone.newer
    else:
        members[gone.older].newer = gone.newer
    if gone.newer == NOBODY:
        line.newest = gone.older
    else:
        members[gone.newer].older = gone.older
    line.n_blocks -= gone.n_blocks
