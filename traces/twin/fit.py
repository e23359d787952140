"""A trace's twin: what a generator needs to make traces like it. Keeps no id of the trace.

A twin holds families of sessions: sessions that share blocks which few others have. Of each
request it holds its delay, lengths, type, turn, and how many leading blocks it shares with which
earlier request of the family, or with which path that many sessions share. Such common paths,
with the popularity that the families give them, are one for the whole twin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import ConfigError
from ..hashing import numbered
from ..schema import Sessions, Trace
from .families import kinship

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MANY_SESSIONS = 10
"""Sessions that make a block common to all families, unless said otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """Families of requests, without names: those of a family are neighbours, in their order."""

    block_size: int
    category_names: tuple[str, ...]
    sessions: Sessions
    start_s: Floats
    """(n_families,): first arrivals, increasing."""
    first: Ints
    """(n_families + 1,): where each family's requests begin."""
    delay_s: Floats
    """(n_requests,): seconds after the family's first arrival; so are all others below."""
    input_tokens: Ints
    output_tokens: Ints
    covered_tokens: Ints
    category: Ints
    turn: Ints
    session: Ints
    """Within the family, from 0."""
    parent: Ints
    """Within the family, -1: none."""
    n_blocks: Ints
    n_kept: Ints
    """Leading blocks that are not new."""
    source: Ints
    """Whose blocks those are: request within the family, -1: nobody's, -2 - p: path p's."""
    think_s: Floats | None
    path_source: Ints
    """(n_paths,): paths that many sessions share, each the beginning of an earlier one and more."""
    path_kept: Ints
    path_blocks: Ints
    path_sessions: Ints
    """How many sessions have each path's last block."""
    many: int
    """Sessions that made a block common."""

    def __len__(self) -> int:
        return len(self.delay_s)

    @property
    def n_families(self) -> int:
        return len(self.start_s)


def fit(trace: Trace, *, many: int = MANY_SESSIONS) -> Twin:
    """Make the twin of `trace`; blocks of at least `many` sessions are common to all families.

    Raises:
        ConfigError: `many` is below 2.
    """
    if many < 2:
        raise ConfigError(f"sessions that make a block common must be at least 2, got {many}")
    ids = numbered(trace.block_ids)
    offsets = trace.block_offsets
    kin = kinship(ids, offsets, trace.session, many=many)
    family = numbered(kin.family[trace.session])
    order = np.argsort(family, kind="stable")
    family = family[order]
    size = np.bincount(family)
    first = np.concatenate([[0], np.cumsum(size)])
    start_s = trace.arrival_s[order[first[:-1]]]
    place = np.empty(len(trace) + 1, np.int64)
    place[order] = np.arange(len(trace)) - first[family]
    place[-1] = -1

    is_common = kin.n_known <= kin.hot_blocks
    n_kept = np.where(is_common, kin.hot_blocks, kin.n_known)
    source = np.where(is_common, -2 - kin.hot_path, place[kin.creator])
    source = np.where(n_kept == 0, -1, source)
    session = trace.session[order]
    lowest = np.full(len(size), np.iinfo(np.int64).max)
    dense = numbered(session + family * (int(session.max()) + 1))
    np.minimum.at(lowest, family, dense)
    return Twin(
        block_size=trace.block_size,
        category_names=trace.category_names,
        sessions=trace.sessions,
        start_s=start_s - trace.arrival_s[0],
        first=first,
        delay_s=trace.arrival_s[order] - start_s[family],
        input_tokens=trace.input_tokens[order],
        output_tokens=trace.output_tokens[order],
        covered_tokens=trace.covered_tokens[order],
        category=trace.category[order],
        turn=trace.turn[order],
        session=dense - lowest[family],
        parent=place[trace.parent[order]],
        n_blocks=np.diff(offsets)[order],
        n_kept=n_kept[order],
        source=source[order],
        think_s=None if trace.think_s is None else trace.think_s[order],
        path_source=kin.path_source,
        path_kept=kin.path_kept,
        path_blocks=kin.path_blocks,
        path_sessions=kin.path_sessions,
        many=many,
    )


def arrays(twin: Twin) -> dict[str, NDArray[Any]]:
    """Return the columns of a twin by name, `think_s` only if there is one."""
    found = {name: getattr(twin, name) for name in Twin.__slots__}
    return {name: value for name, value in found.items() if isinstance(value, np.ndarray)}
