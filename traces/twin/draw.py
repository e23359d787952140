"""Traces drawn from a twin: families again, at new times, with new blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ... import ConfigError
from ..generate.paths import block_paths
from ..generate.streams import stream
from ..hashing import numbered
from ..schema import Trace
from .fit import Twin

WINDOW_S = 20.0
"""Families swap their starts with others that begin within this time."""
_STRATUM = 16
"""Families of like load out of which --bootstrap draws."""
_TICKING_SHARE = 0.5
"""Of the starts, that fall together with another: then times are ticks, and stay so."""


def draw(
    twin: Twin,
    *,
    factor: float = 1.0,
    window_s: float = WINDOW_S,
    seed: int = 0,
    bootstrap: bool = False,
    name: str = "twin",
) -> Trace:
    """Draw a trace with `factor` times the rate over the same time.

    Every family is taken `factor` times, rounded up or down so that the total is right; with
    `bootstrap` families are drawn with replacement instead, each out of 16 of like load. Starts
    are the twin's, so that drift and bursts stay, but families swap them within `window_s`.
    Every copy has blocks of its own, but for the paths that many sessions share.

    Raises:
        ConfigError: the factor or the window is out of range.
    """
    if not 0 < factor <= 1e4:
        raise ConfigError(f"factor must be above 0 and at most 10000, got {factor:g}")
    if not 0 <= window_s < np.inf:
        raise ConfigError(f"window must be finite and not negative, got {window_s:g} s")
    n = max(1, round(factor * twin.n_families))
    rng = stream(seed, "families")
    evenly = np.floor((np.arange(n) + rng.random()) * twin.n_families / n).astype(np.int64)
    evenly = np.minimum(evenly, twin.n_families - 1)
    family = _drawn_again(twin, evenly, rng) if bootstrap else evenly
    rng = stream(seed, "starts")
    start_s = _swapped(twin, family, _starts(twin, evenly, rng), window_s, rng)
    return _lay_out(twin, family, start_s, seed=seed, name=name)


def _drawn_again(
    twin: Twin, family: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw as many families with replacement, each of those with about as many prompt tokens.

    What is drawn twice comes once in its own place and then in that of one that was not drawn:
    side by side, the copies of a long family would overload a server that it never did.
    A draw from all of them would change the load, and waits near saturation change by several
    times as much: of Mooncake's hour 1 % of the load is 5 % of the median TTFT.
    """
    prompt_tokens = np.add.reduceat(twin.input_tokens, twin.first[:-1])
    order = np.argsort(prompt_tokens[family], kind="stable")
    place = np.arange(len(family))
    stratum = place - place % _STRATUM
    size = np.minimum(_STRATUM, len(family) - stratum)
    drawn = stratum + np.floor(rng.random(len(family)) * size).astype(np.int64)
    n_of = np.bincount(drawn, minlength=len(family))
    came = place.copy()
    came[n_of == 0] = np.repeat(place, np.maximum(n_of - 1, 0))
    again = np.empty_like(family)
    again[order] = family[order[came]]
    return again


def _starts(twin: Twin, family: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a start of each copy: a second one begins between its family's and the next one's."""
    starts = twin.start_s[family]
    is_again = np.concatenate([[False], family[1:] == family[:-1]])
    if not _is_ticking(twin) and is_again.any():
        following = np.append(twin.start_s[1:], twin.start_s[-1])[family]
        between = starts + (following - starts) * rng.random(len(starts))
        starts = np.where(is_again, between, starts)
    return starts


def _swapped(
    twin: Twin,
    family: NDArray[np.int64],
    starts: NDArray[np.float64],
    window_s: float,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Deal the starts out to the families, whose order in time is theirs but for the window.

    A family begins no later than its last request allows: what would come after the end of the
    trace would be missing from its load.
    """
    lasts_s = np.maximum.reduceat(twin.delay_s, twin.first[:-1])
    end_s = float((twin.start_s + lasts_s).max())
    wanted = np.sort(starts) + rng.uniform(-window_s / 2, window_s / 2, len(starts))
    wanted = np.minimum(wanted, end_s - lasts_s[family])
    new = np.empty(len(starts))
    new[np.argsort(wanted, kind="stable")] = np.sort(starts)
    return new


def _is_ticking(twin: Twin) -> bool:
    return len(np.unique(twin.start_s)) < (1 - _TICKING_SHARE) * twin.n_families


def _on_ticks(twin: Twin, arrival_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move arrivals to the nearest instant at which the trace had any, where it had only few."""
    family = np.repeat(np.arange(twin.n_families), np.diff(twin.first))
    ticks = np.unique(np.rint((twin.start_s[family] + twin.delay_s) * 1e6) / 1e6)
    if len(ticks) < 2:
        return arrival_s
    nearest = np.searchsorted((ticks[1:] + ticks[:-1]) / 2, arrival_s)
    return np.where(arrival_s <= ticks[-1], ticks[nearest], arrival_s)


def _lay_out(
    twin: Twin, family: NDArray[np.int64], start_s: NDArray[np.float64], *, seed: int, name: str
) -> Trace:
    size = np.diff(twin.first)[family]
    begin = np.cumsum(size) - size
    copy = np.repeat(np.arange(len(family)), size)
    rows = np.arange(len(copy)) - begin[copy] + twin.first[family][copy]
    # to the microsecond: the sum should not tell apart what came at the same time
    arrival_s = np.rint((start_s[copy] + twin.delay_s[rows]) * 1e6) / 1e6
    if _is_ticking(twin):
        arrival_s = _on_ticks(twin, arrival_s)
    # of what comes at once, families come in random order: not the oldest, and longest, first
    turn = stream(seed, "equal times").permutation(len(family))
    order = np.lexsort((np.arange(len(copy)), turn[copy], arrival_s))
    place = np.empty(len(order) + 1, np.int64)
    place[order] = np.arange(len(order))
    place[-1] = -1

    def moved(within: NDArray[np.int64]) -> NDArray[np.int64]:
        """Turn places within a family into rows of the new trace."""
        return place[np.where(within[rows] < 0, -1, within[rows] + begin[copy])][order]

    n_paths = len(twin.path_blocks)
    of_path = -2 - twin.source[rows[order]]
    source = moved(twin.source)  # of paths: -1, as of none
    source = np.where(of_path >= 0, of_path, np.where(source >= 0, source + n_paths, -1))
    rows = rows[order]
    parent = place[np.where(twin.parent[rows] < 0, -1, twin.parent[rows] + begin[copy[order]])]
    block_ids, block_offsets = block_paths(
        np.concatenate([twin.path_source, source]),
        np.concatenate([twin.path_kept, twin.n_kept[rows]]),
        np.concatenate([twin.path_blocks, twin.n_blocks[rows]]),
        n_hidden=n_paths,
    )
    n_sessions = np.zeros(twin.n_families, np.int64)
    np.maximum.at(
        n_sessions, np.repeat(np.arange(twin.n_families), np.diff(twin.first)), twin.session + 1
    )
    before = np.cumsum(n_sessions[family]) - n_sessions[family]
    return Trace(
        name=name,
        block_size=twin.block_size,
        request_id=np.arange(len(rows)),
        arrival_s=arrival_s[order],
        input_tokens=twin.input_tokens[rows],
        output_tokens=twin.output_tokens[rows],
        parent=parent,
        session=numbered(before[copy[order]] + twin.session[rows]),
        turn=twin.turn[rows],
        category=twin.category[rows],
        category_names=twin.category_names,
        block_ids=block_ids,
        block_offsets=block_offsets,
        covered_tokens=twin.covered_tokens[rows],
        sessions=twin.sessions,
        think_s=None if twin.think_s is None else twin.think_s[rows],
    )
