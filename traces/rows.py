"""What a reader hands over: columns in file order, and how to name a row in an error."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import TraceError
from .schema import Sessions

MOST_TOKENS = 2**31 - 1
"""Longest request; sums and products of lengths then fit 64 bits."""
LATEST_S = 1e12
"""Latest arrival; later ones would swallow the length of a step."""

NAMES = {
    "arrival_s": ("arrival_s", "arrival", "timestamp"),
    "input_tokens": ("input_tokens", "input_length"),
    "output_tokens": ("output_tokens", "output_length"),
    "block_ids": ("block_ids", "full_hash_ids", "hash_ids"),
    "request_id": ("request_id",),
    "session": ("session_id", "session"),
    "turn": ("turn",),
    "category": ("category", "type"),
    "think_s": ("think_s", "think_time"),
}
"""What files call a column; the first name that is there counts."""
MILLISECONDS = "timestamp"
"""The one name whose values are milliseconds; all other times are seconds."""
WHOLE_IDS = "full_hash_ids"
"""The name of ids that go on from the prompt into the output."""
LONGEST_NAME = 256
"""Characters of a request id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Requests as files give them, unsorted; each value is of the right type and range."""

    paths: tuple[Path, ...]
    """The files, in the order in which they were read."""
    starts: tuple[int, ...]
    """First row of each file."""
    row: NDArray[np.int64]
    """(n,): number of the row over all files, from 0."""
    line: NDArray[np.int64]
    """(all rows of all files,): place in its file, from 1."""
    arrival_s: NDArray[np.float64]
    input_tokens: NDArray[np.int64]
    output_tokens: NDArray[np.int64]
    block_ids: NDArray[np.int64]
    block_offsets: NDArray[np.int64]
    names_output: NDArray[np.bool_]
    """(n,): whether the ids go on from the prompt into the output."""
    covered_tokens: NDArray[np.int64] | None = None
    """None: as many as the ids can name."""
    request_id: NDArray[np.int64] | NDArray[np.str_] | None = None
    session: NDArray[np.int64] | None = None
    parent: NDArray[np.int64] | None = None
    """(n,): row of the request that this one continues, -1 for none."""
    turn: NDArray[np.int64] | None = None
    category: NDArray[np.int64] | None = None
    category_names: tuple[str, ...] = ("request",)
    think_s: NDArray[np.float64] | None = None
    recorded_e2e_s: NDArray[np.float64] | None = None
    block_size: int | None = None
    """What the files say; None if they do not."""
    says_chained: bool = False
    """Whether the file claims that each id names all blocks before it too."""
    sessions: Sessions = Sessions.GIVEN
    """How session, parent and turn came about, where they are there."""
    name: str | None = None
    children_show_outputs: bool = False
    """Whether ids may go on into outputs that the prompts of later turns repeat."""
    dropped: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What was inferred or is absent, a sentence each."""

    def __len__(self) -> int:
        return len(self.row)

    def where(self, i: int) -> str:
        """Name row `i` of these for an error: file and line."""
        row = int(self.row[i])
        path = self.paths[bisect_right(self.starts, row) - 1]
        return f"{path}:{self.line[row]}"

    def take(self, picked: NDArray[np.int64]) -> Rows:
        """Return the rows numbered `picked`, in that order."""
        from .gather import gather

        ids, offsets = gather(self.block_ids, self.block_offsets, picked)
        one_a_row: dict[str, Any] = {
            column.name: values[picked]
            for column in fields(self)
            if isinstance(values := getattr(self, column.name), np.ndarray)
            and column.name not in ("line", "block_ids", "block_offsets")
        }
        return replace(self, block_ids=ids, block_offsets=offsets, **one_a_row)


def wrong(where: str, name: str, must: str, value: object) -> TraceError:
    """Build the error about one value: file and row, field, what is allowed, what was found."""
    found = "nothing" if value is None else repr(value)
    if len(found) > 60:
        found = found[:57] + "..."
    return TraceError(f"{where}: {name} must be {must}, got {found}")
