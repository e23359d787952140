"""The trace in memory: one row a request, block ids beside it. Knows no file format."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .. import TraceError


class Sessions(StrEnum):
    """Where the parent, turn and session columns come from."""

    GIVEN = "given"
    INFERRED = "inferred"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Requests sorted by arrival (ties keep file order), with their prefix-block ids.

    All arrays have one entry a request, except `block_ids`. Row numbers name requests
    everywhere else in kvsim.
    """

    name: str
    """What to call it in tables: usually the file's name."""
    block_size: int
    """Tokens a block id stands for."""
    request_id: NDArray[np.int64] | NDArray[np.str_]
    """The file's own name for the request; its row in the file where it has none."""
    arrival_s: NDArray[np.float64]
    """Seconds from the start of the trace's clock, non-decreasing."""
    input_tokens: NDArray[np.int64]
    """Prompt length, at least 1."""
    output_tokens: NDArray[np.int64]
    """Generated tokens, at least 1."""
    parent: NDArray[np.int64]
    """Row of the request that this one continues, or -1."""
    session: NDArray[np.int64]
    """Number of the session, dense from 0, in order of first arrival."""
    turn: NDArray[np.int64]
    """Place in the session, from 1; a session cut at the start of the trace may begin later."""
    category: NDArray[np.int64]
    """Index into `category_names`."""
    category_names: tuple[str, ...]
    """Request types as the file names them; ("request",) where it names none."""
    block_ids: NDArray[np.int64]
    """All requests' ids in turn, each naming its block *and* all before it (chained)."""
    block_offsets: NDArray[np.int64]
    """(n_requests + 1,): r has `block_ids[block_offsets[r]:block_offsets[r + 1]]`."""
    covered_tokens: NDArray[np.int64]
    """Leading positions whose content the ids name: of the prompt, or of prompt and output."""
    sessions: Sessions
    """Whether parent, turn and session were given, inferred from prefixes, or are absent."""
    think_s: NDArray[np.float64] | None = None
    """Seconds from the parent's finish to this arrival, NaN where unknown; None if never given."""
    recorded_e2e_s: NDArray[np.float64] | None = None
    """Seconds the request took where it was recorded, NaN where unknown; None if never given."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Rows left out while reading, by reason."""
    notes: tuple[str, ...] = ()
    """What the file lacks and the reader inferred or drew, a sentence each."""

    def __post_init__(self) -> None:
        """Copy what is a view with gaps: compiled code takes an address."""
        for each in fields(self):
            values = getattr(self, each.name)
            if isinstance(values, np.ndarray) and not values.flags.c_contiguous:
                object.__setattr__(self, each.name, np.ascontiguousarray(values))

    def __len__(self) -> int:
        return len(self.arrival_s)

    @property
    def total_tokens(self) -> NDArray[np.int64]:
        """Prompt plus output tokens, (n_requests,)."""
        return self.input_tokens + self.output_tokens

    def ids_of(self, row: int) -> NDArray[np.int64]:
        """Block ids of one request, shallow to deep."""
        return self.block_ids[self.block_offsets[row] : self.block_offsets[row + 1]]

    def digest(self) -> str:
        """SHA-256 of everything that can change a result; equal traces have equal digests."""
        sha = hashlib.sha256(f"kvsim trace 1 {self.block_size} {self.category_names}".encode())
        think_s = self.think_s if self.think_s is not None else np.empty(0)
        for column in (
            self.arrival_s,
            self.input_tokens,
            self.output_tokens,
            self.parent,
            self.turn,
            self.category,
            self.block_ids,
            self.block_offsets,
            self.covered_tokens,
            think_s,
        ):
            sha.update(np.ascontiguousarray(column).data)
        return sha.hexdigest()

    def head(self, n: int) -> Trace:
        """The first `n` requests."""
        if n >= len(self):
            return self
        if n < 1:
            raise TraceError(f"{self.name}: a trace needs at least 1 request, asked for {n}")
        end = int(self.block_offsets[n])
        return replace(
            self,
            request_id=self.request_id[:n],
            arrival_s=self.arrival_s[:n],
            input_tokens=self.input_tokens[:n],
            output_tokens=self.output_tokens[:n],
            parent=self.parent[:n],
            session=self.session[:n],
            turn=self.turn[:n],
            category=self.category[:n],
            block_ids=self.block_ids[:end],
            block_offsets=self.block_offsets[: n + 1],
            covered_tokens=self.covered_tokens[:n],
            think_s=None if self.think_s is None else self.think_s[:n],
            recorded_e2e_s=None if self.recorded_e2e_s is None else self.recorded_e2e_s[:n],
        )

    def scaled(self, time_scale: float) -> Trace:
        """The same requests with every arrival time multiplied by `time_scale`."""
        if not (np.isfinite(time_scale) and time_scale > 0):
            raise TraceError(f"time scale must be positive and finite, got {time_scale}")
        return replace(self, arrival_s=self.arrival_s * time_scale)
