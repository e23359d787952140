"""Traces to measure on: synthetic conversations, independent blocks, and public traces."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kvsim.traces.formats import read_trace
from kvsim.traces.hashing import numbered
from kvsim.traces.schema import Sessions, Trace
from kvsim.traces.sessions import link_turns


@cache
def multi_turn(n_requests: int = 50_000, seed: int = 1, per_s: float = 1.0) -> Trace:
    """Conversations of 3 turns in the mean, 16-token blocks: about 140 blocks a request.

    Each starts with one of 50 shared system prompts of 2 to 40 blocks, and each turn adds 5 to
    75 blocks of its own. Turns are apart by 2000 requests of other conversations in the mean;
    `per_s` requests arrive a second.
    """
    rng = np.random.default_rng(seed)
    n_turns = rng.geometric(1 / 3, n_requests)  # more conversations than needed: cut below
    conversation = np.repeat(np.arange(n_requests), n_turns)[: 2 * n_requests]
    first = np.flatnonzero(np.diff(conversation, prepend=-1))
    n = len(conversation)
    gap = rng.exponential(2000, n)
    gap[first] = 0
    start = rng.uniform(0, n, conversation[-1] + 1)
    at = start[conversation] + np.cumsum(gap) - np.cumsum(gap)[first][conversation]
    added = rng.integers(5, 76, n)
    own_end = np.cumsum(added)  # own blocks of a conversation are neighbours
    own_start = (own_end - added)[first][conversation]

    prompt_blocks = rng.integers(2, 41, 50)
    popularity = 1 / np.arange(1, 51)
    prompt_of = rng.choice(50, conversation[-1] + 1, p=popularity / popularity.sum())
    prompt_end = np.cumsum(prompt_blocks)
    prompt = prompt_of[conversation]

    order = np.argsort(at, kind="stable")
    order = order[n // 4 : n // 4 + n_requests]  # the middle, where conversations come and go
    return _trace(
        "multi-turn",
        16,
        at[order] / per_s,
        _two_ranges(
            (prompt_end - prompt_blocks)[prompt[order]],
            prompt_end[prompt[order]],
            prompt_end[-1] + own_start[order],
            prompt_end[-1] + own_end[order],
        ),
        session=numbered(conversation[order]),
    )


@cache
def single_blocks(n_requests: int = 2_000_000, n_keys: int = 400_000, seed: int = 2) -> Trace:
    """Independent requests of 1 block, Zipf 0.9: no prefix is shared, so segments gain nothing."""
    rng = np.random.default_rng(seed)
    weight = np.arange(1, n_keys + 1) ** -0.9
    drawn = np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(n_requests))
    ids = rng.permutation(n_keys)[np.minimum(drawn, n_keys - 1)]
    offsets = np.arange(n_requests + 1)
    return _trace("single blocks", 16, offsets[:-1].astype(np.float64), (ids, offsets))


@cache
def mooncake(data: Path) -> Trace | None:
    """The public Mooncake conversation trace, or None if it is not there."""
    path = data / "mooncake" / "conversation_trace.jsonl.gz"
    return read_trace(path, name="mooncake") if path.exists() else None


def _two_ranges(
    start_1: NDArray[np.int64],
    end_1: NDArray[np.int64],
    start_2: NDArray[np.int64],
    end_2: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row i is start_1[i] .. end_1[i] - 1 and then start_2[i] .. end_2[i] - 1: ids, offsets."""
    n = np.stack((end_1 - start_1, end_2 - start_2), axis=1).ravel()
    before = np.concatenate(([0], np.cumsum(n)))
    shift = np.stack((start_1, start_2), axis=1).ravel() - before[:-1]
    return np.arange(before[-1]) + np.repeat(shift, n), before[::2]


def _trace(
    name: str,
    block_size: int,
    arrival_s: NDArray[np.float64],
    paths: tuple[NDArray[np.int64], NDArray[np.int64]],
    session: NDArray[np.int64] | None = None,
) -> Trace:
    ids, offsets = paths
    if session is None:
        session = np.arange(len(arrival_s))
    parent, turn = link_turns(session, None)
    rows = np.arange(len(arrival_s))
    tokens = np.diff(offsets) * block_size
    return Trace(
        name=name,
        block_size=block_size,
        request_id=rows,
        arrival_s=arrival_s,
        input_tokens=tokens,
        output_tokens=np.full(len(rows), 200),
        parent=parent,
        session=session,
        turn=turn,
        category=np.zeros(len(rows), np.int64),
        category_names=("request",),
        block_ids=ids,
        block_offsets=offsets,
        covered_tokens=tokens,
        sessions=Sessions.GIVEN,
    )
