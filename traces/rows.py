"""What a reader hands over: columns in file order, and how to name a row in an error."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

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
    block_size: int | None = None
    """What the files say; None if they do not."""
    sessions: Sessions = Sessions.GIVEN
    """How session, parent and turn came about, where they are there."""
    name: str | None = None
    dropped: dict[str, int] = field(default_factory=dict)

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
        one_a_row = {
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


def joined(parts: Sequence[Rows]) -> Rows:
    """Put files one after the other as parts of one trace.

    Equal block ids and category names mean the same in all parts; a session stays within its
    part. Sessions that were inferred are left out, to be inferred anew over all parts, and so
    are request ids, which in files of their own may clash.
    """
    if len(parts) == 1:
        return parts[0]
    first = parts[0]
    for part in parts[1:]:
        if part.block_size != first.block_size:
            raise wrong(
                str(part.paths[0]), "block_size", f"{first.block_size} as before", part.block_size
            )
        for column in ("covered_tokens", "session", "parent", "turn", "category", "think_s"):
            if (getattr(part, column) is None) != (getattr(first, column) is None):
                raise TraceError(f"{part.paths[0]}: {column} must be in every file or in none")
    names = tuple(sorted({name for part in parts for name in part.category_names}))
    sizes = np.array([len(part) for part in parts])
    starts = np.cumsum(sizes) - sizes
    n_ids = np.concatenate([np.diff(part.block_offsets) for part in parts])
    is_inferred = Sessions.INFERRED in {part.sessions for part in parts}
    dropped: dict[str, int] = {}
    for part in parts:
        for reason, n in part.dropped.items():
            dropped[reason] = dropped.get(reason, 0) + n

    def column(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else np.concatenate(values)

    def moved(name: str, by: Any) -> Any:
        if is_inferred or getattr(first, name) is None:
            return None
        values = [getattr(part, name) for part in parts]
        return np.concatenate([np.where(v < 0, v, v + n) for v, n in zip(values, by, strict=True)])

    return Rows(
        paths=tuple(path for part in parts for path in part.paths),
        starts=tuple(
            int(start) + inner
            for start, part in zip(starts, parts, strict=True)
            for inner in part.starts
        ),
        row=np.arange(sizes.sum()),
        line=column("line"),
        arrival_s=column("arrival_s"),
        input_tokens=column("input_tokens"),
        output_tokens=column("output_tokens"),
        block_ids=column("block_ids"),
        block_offsets=np.concatenate([[0], np.cumsum(n_ids)]),
        names_output=column("names_output"),
        covered_tokens=column("covered_tokens"),
        session=moved("session", np.cumsum([_span(part.session) for part in parts])),
        parent=moved("parent", starts),
        turn=None if is_inferred else column("turn"),
        category=None
        if first.category is None
        else np.concatenate([_renamed(part, names) for part in parts]),
        category_names=names,
        think_s=column("think_s"),
        block_size=first.block_size,
        sessions=first.sessions,
        dropped=dropped,
    )
