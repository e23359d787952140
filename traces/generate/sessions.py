"""Draws a workload: sessions that grow turn by turn, as columns; then one trace of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ... import ConfigError
from ..hashing import numbered
from ..schema import Sessions, Trace
from .lengths import whole
from .paths import block_paths
from .streams import Source, Stratified, stream
from .workload import Kind, Workload

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_NEW, _SHARED, _EARLIER = 0, 1, 2
"""Where a request's kept blocks come from: nowhere, a shared prefix, an earlier request."""
MOST_TURNS = 100_000
MOST_IDS = 2**30
"""Block ids of a trace: 8 GiB of memory."""
_GOLDEN = (5**0.5 - 1) / 2
_MANY = 20_000
_SLICES = 64
"""Of a stratified workload's duration: what differs between seeds is how sessions of a minute or
two lie, not when most of them come."""


@dataclass(slots=True)
class _Columns:
    """Requests of one turn of one kind, in any order."""

    session: Ints
    turn: Ints
    category: Ints
    arrival_s: Floats
    input_tokens: Ints
    output_tokens: Ints
    think_s: Floats
    parent: Ints
    """Number of the request continued, in the order in which they are drawn; -1: none."""
    origin: Ints
    """_NEW, _SHARED or _EARLIER."""
    source: Ints
    """Number of the prefix or of the request whose blocks are kept."""
    n_kept: Ints


def generate(workload: Workload, *, seed: int = 0) -> Trace:
    """Draw the workload's requests; the same workload and seed give the same trace.

    Raises:
        ConfigError: no request falls into the duration.
    """
    prefixes = _Prefixes(workload)
    kind, prefix, start_s = _sessions(workload, prefixes, seed)
    parts: list[_Columns] = []
    n_drawn = 0
    for number, one in enumerate(workload.kinds):
        of_kind = np.flatnonzero(kind == number)
        n_drawn = _draw_kind(
            workload, number, one, of_kind, prefix, start_s, prefixes, seed, parts, n_drawn
        )
    if not n_drawn:
        raise ConfigError(f"workload {workload.name}: no request arrives in the duration")
    return _trace(workload, parts, prefixes)


class _Prefixes:
    """All shared prefixes, numbered over all pools."""

    def __init__(self, workload: Workload) -> None:
        self.first: dict[str, int] = {}
        self.size: dict[str, int] = {}
        self._weights: dict[str, Floats] = {}
        blocks = []
        n = 0
        for name, pool in workload.pools.items():
            # spread evenly, in golden-ratio order: a few prefixes carry much of the traffic, and
            # their lengths should not hang on a draw
            level = (np.arange(pool.n) * _GOLDEN + 0.5) % 1.0
            many = pool.tokens.draw(stream(0, f"pool {name}"), _MANY)
            tokens = np.quantile(many, level)
            self.first[name], self.size[name] = n, pool.n
            weight = np.arange(1, pool.n + 1) ** -pool.zipf
            self._weights[name] = np.cumsum(weight) / weight.sum()
            blocks.append(np.rint(tokens / workload.block_size).astype(np.int64))
            n += pool.n
        self.n_blocks = np.concatenate(blocks) if blocks else np.zeros(0, np.int64)

    def draw(self, name: str, n: int, rng: Source) -> Ints:
        """Draw the numbers of `n` prefixes out of a pool."""
        place = np.searchsorted(self._weights[name][:-1], rng.random(n), side="right")
        drawn: Ints = self.first[name] + place
        return drawn


def _sessions(workload: Workload, prefixes: _Prefixes, seed: int) -> tuple[Ints, Ints, Floats]:
    """Return kind, shared prefix (-1: none) and start of every session."""
    rng = stream(seed, "arrivals")
    arrivals = workload.arrivals
    has_trends = any(kind.trend is not None for kind in workload.kinds)
    exact = workload.n_sessions is not None or workload.clients is not None or has_trends
    if exact:
        n = workload.n_sessions or int(rng.poisson(arrivals.per_s * workload.duration_s))
        start_s = np.zeros(n)
    else:
        start_s = arrivals.draw(workload.duration_s, rng)
        n = len(start_s)
    weight = np.array([kind.weight for kind in workload.kinds])
    # as many of each kind as its share says, in random order: no noise where none is asked for
    edges = np.rint(np.cumsum(weight) / weight.sum() * n).astype(np.int64)
    kind = np.searchsorted(edges, np.arange(n), side="right")
    kind = stream(seed, "kinds").permutation(kind)
    prefix = np.full(n, -1, np.int64)
    for number, one in enumerate(workload.kinds):
        rows = np.flatnonzero(kind == number)
        which = _source(workload, seed, f"kind {number} pools")
        share = np.cumsum([share for _, share in one.pools]) if one.pools else np.zeros(0)
        choice = np.searchsorted(share, which.random(len(rows)), side="right")
        for at, (name, _) in enumerate(one.pools):
            chosen = rows[choice == at]
            prefix[chosen] = prefixes.draw(name, len(chosen), which)
    if exact:
        client = np.zeros(n, np.int64)
        if workload.clients is not None:
            first, size = prefixes.first[workload.clients], prefixes.size[workload.clients]
            is_client = (prefix >= first) & (prefix < first + size)
            client = np.where(is_client, prefix - first + 1, 0)
        for number, one in enumerate(workload.kinds):
            rows = np.flatnonzero(kind == number)
            own = arrivals
            if one.trend is not None:
                own = replace(arrivals, rate=replace(arrivals.rate, trend=one.trend))
            which = stream(seed, f"kind {number} arrivals")
            start_s[rows] = own.exactly(
                len(rows),
                workload.duration_s,
                which,
                client=client[rows],
                n_slices=_SLICES if workload.stratified else 1,
            )
    return kind, prefix, start_s


def _source(workload: Workload, seed: int, name: str) -> Source:
    rng = stream(seed, name)
    return Stratified(rng) if workload.stratified else rng


def _draw_kind(
    workload: Workload,
    number: int,
    kind: Kind,
    sessions: Ints,
    prefix: Ints,
    start_s: Floats,
    prefixes: _Prefixes,
    seed: int,
    parts: list[_Columns],
    n_drawn: int,
) -> int:
    """Append the requests of all sessions of one kind, turn by turn; return how many there are."""
    names = sorted({one.name for one in workload.kinds})
    category = names.index(kind.name)
    sessions = sessions[np.argsort(start_s[sessions], kind="stable")]
    shared = prefix[sessions]
    has_prefix = shared >= 0
    shared_blocks = np.zeros(len(sessions), np.int64)
    shared_blocks[has_prefix] = prefixes.n_blocks[shared[has_prefix]]
    shared_tokens = shared_blocks * workload.block_size
    longest = min(kind.limit_tokens or workload.longest_tokens, workload.longest_tokens)

    rng = _source(workload, seed, f"kind {number} turn 1")
    n = len(sessions)
    private = whole(kind.first_tokens.draw(rng, n))
    tokens = np.minimum(shared_tokens + private, longest)
    origin = np.where(shared_blocks > 0, _SHARED, _NEW)
    first = _Columns(
        session=sessions,
        turn=np.ones(n, np.int64),
        category=np.full(n, category),
        arrival_s=start_s[sessions],
        input_tokens=tokens,
        output_tokens=whole(kind.output_tokens.draw(rng, n)),
        think_s=np.full(n, np.nan),
        parent=np.full(n, -1, np.int64),
        origin=origin,
        source=np.where(shared_blocks > 0, shared, -1),
        n_kept=np.minimum(shared_blocks, -(-tokens // workload.block_size)),
    )
    if kind.repeats is not None:
        rng = _source(workload, seed, f"kind {number} repeats")
        _repeat(first, kind, workload.block_size, n_drawn, rng)
    parts.append(first)
    last = first
    at = np.arange(n)  # sessions of this kind, as rows of the arrays by session
    numbers = n_drawn + at
    n_drawn += n
    turn = 1
    while kind.continues and len(last.session) and turn < MOST_TURNS:
        rng = _source(workload, seed, f"kind {number} turn {turn + 1}")
        p = kind.continues[min(turn, len(kind.continues)) - 1]
        goes_on = rng.random(len(last.session)) < p
        grown, rows = _next_turn(workload, kind, last, goes_on, longest, shared_blocks[at], rng)
        at, parents = at[rows], numbers[rows]
        grown.source = np.where(grown.origin == _EARLIER, parents, -1)
        is_shared = grown.origin == _SHARED
        grown.source[is_shared] = shared[at[is_shared]]
        grown.parent = parents
        parts.append(grown)
        last = grown
        numbers = n_drawn + np.arange(len(rows))
        n_drawn += len(rows)
        turn += 1
    return n_drawn


def _repeat(first: _Columns, kind: Kind, block_size: int, n_drawn: int, rng: Source) -> None:
    """Let some first requests begin as an earlier one of their kind did."""
    repeats = kind.repeats
    assert repeats is not None
    n = len(first.session)
    chosen = np.flatnonzero(rng.random(n) < repeats.share)
    gap_s = repeats.gap_s.draw(rng, len(chosen))
    part = repeats.least_part + (1 - repeats.least_part) * rng.random(len(chosen))
    # first requests are sorted by time: the one repeated is the latest that is old enough
    earlier = np.searchsorted(first.arrival_s, first.arrival_s[chosen] - gap_s, side="right") - 1
    known = (earlier >= 0) & (earlier < chosen)
    chosen, earlier, part = chosen[known], earlier[known], part[known]
    n_blocks = -(-first.input_tokens // block_size)
    shortest = np.minimum(n_blocks[earlier], n_blocks[chosen] - 1)
    n_kept = np.floor(part * shortest).astype(np.int64)
    better = n_kept > first.n_kept[chosen]
    first.origin[chosen[better]] = _EARLIER
    first.source[chosen[better]] = n_drawn + earlier[better]
    first.n_kept[chosen[better]] = n_kept[better]


def _next_turn(
    workload: Workload,
    kind: Kind,
    last: _Columns,
    goes_on: NDArray[np.bool_],
    longest: int,
    shared_blocks: Ints,
    rng: Source,
) -> tuple[_Columns, Ints]:
    """Return the next turn of those that go on within time and limit, and which they are."""
    n = len(last.session)
    turn = int(last.turn[0])
    size = workload.block_size
    service = workload.service
    think_s = np.full(n, np.nan)
    scale: Floats | float = kind.gap_scale[min(turn, len(kind.gap_scale)) - 1]
    if kind.gap_power:
        scale = scale * (last.input_tokens / 1000) ** kind.gap_power
    if kind.gap_s is not None:
        gap_s = kind.gap_s.draw(rng, n) * scale
    else:
        assert kind.think_s is not None
        think_s = kind.think_s.draw(rng, n) * scale
        gap_s = think_s + service.base_s + service.per_input_token_s * last.input_tokens
        gap_s += service.per_output_token_s * last.output_tokens
    arrival_s = last.arrival_s + gap_s
    added = whole(kind.added_tokens.draw(rng, n))
    kept_output = np.rint(kind.kept_output * last.output_tokens).astype(np.int64)
    tokens = last.input_tokens + kept_output + added
    origin = np.full(n, _EARLIER)
    n_kept = last.input_tokens // size
    fate, part = rng.random(n), rng.random(n)
    is_cut = fate < kind.cut_short
    n_kept = np.where(is_cut, np.floor(part * n_kept).astype(np.int64), n_kept)
    n_kept = np.where(fate >= 1 - kind.forgotten, 0, n_kept)
    too_long = tokens > longest
    if kind.at_limit == "end":
        goes_on = goes_on & ~too_long
    elif kind.at_limit == "compact":
        anew = shared_blocks * size + whole(kind.first_tokens.draw(rng, n))
        tokens = np.where(too_long, anew, tokens)
        origin = np.where(too_long, _SHARED, origin)
        n_kept = np.where(too_long, shared_blocks, n_kept)
        origin = np.where(origin == _SHARED, np.where(shared_blocks > 0, _SHARED, _NEW), origin)
    tokens = np.minimum(tokens, longest)
    n_kept = np.minimum(n_kept, -(-tokens // size))
    rows = np.flatnonzero(goes_on & (arrival_s < workload.duration_s))
    m = len(rows)
    grown = _Columns(
        session=last.session[rows],
        turn=last.turn[rows] + 1,
        category=last.category[rows],
        arrival_s=arrival_s[rows],
        input_tokens=tokens[rows],
        output_tokens=whole(kind.output_tokens.draw(rng, m)),
        think_s=think_s[rows],
        parent=np.zeros(m, np.int64),
        origin=origin[rows],
        source=np.zeros(m, np.int64),
        n_kept=n_kept[rows],
    )
    return grown, rows


def _trace(workload: Workload, parts: list[_Columns], prefixes: _Prefixes) -> Trace:
    """Sort all requests by arrival and give them block ids."""

    def column(name: str) -> NDArray[np.int64]:
        return np.concatenate([getattr(part, name) for part in parts])

    # files of such traces tell times to the millisecond; a child still follows its parent
    arrival_s = np.rint(column("arrival_s") * 1e3) / 1e3
    order = np.argsort(arrival_s, kind="stable")
    n = len(order)
    place = np.empty(n + 1, np.int64)
    place[order] = np.arange(n)
    place[n] = -1
    parent = place[column("parent")[order]]
    tokens = column("input_tokens")[order]
    n_blocks = -(-tokens // workload.block_size)
    n_ids = int(n_blocks.sum())
    if n_ids > MOST_IDS:
        told = f"{n_ids:,} of {n:,} requests"
        raise ConfigError(
            f"workload {workload.name}: block ids must be at most {MOST_IDS:,}, got {told};"
            " choose larger blocks or fewer requests"
        )
    origin, source = column("origin")[order], column("source")[order]
    n_hidden = len(prefixes.n_blocks)
    is_earlier = origin == _EARLIER
    source = np.where(is_earlier, place[np.where(is_earlier, source, -1)] + n_hidden, source)
    none = np.zeros(n_hidden, np.int64)
    block_ids, block_offsets = block_paths(
        np.concatenate([none - 1, source]),
        np.concatenate([none, column("n_kept")[order]]),
        np.concatenate([prefixes.n_blocks, n_blocks]),
        n_hidden=n_hidden,
    )
    think_s = np.concatenate([part.think_s for part in parts])[order]
    return Trace(
        name=workload.name,
        block_size=workload.block_size,
        request_id=np.arange(n),
        arrival_s=arrival_s[order],
        input_tokens=tokens,
        output_tokens=column("output_tokens")[order],
        parent=parent,
        session=numbered(column("session")[order]),
        turn=column("turn")[order],
        category=column("category")[order],
        category_names=tuple(sorted({kind.name for kind in workload.kinds})),
        block_ids=block_ids,
        block_offsets=block_offsets,
        covered_tokens=tokens,
        sessions=Sessions.GIVEN,
        think_s=None if bool(np.isnan(think_s).all()) else think_s,
    )
