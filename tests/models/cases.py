"""Small random cases for engine and model alike, and how both are run on them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import scheduler_model as model
from hypothesis import strategies as st

from kvsim.calibration.latency import LatencyModel
from kvsim.policies import Policy, make_policy
from kvsim.sim.config import EngineConfig
from kvsim.sim.decision_log import DecisionLog
from kvsim.sim.engine import World
from kvsim.sim.router import router_code
from kvsim.sim.setup import Prepared, prepare
from kvsim.sim.tier_setup import TierChoices
from kvsim.traces.prefix_tree import compile_tree
from kvsim.traces.schema import Sessions, Trace

REJECTED = 3
"""Status of a request that can never fit, in the compiled state."""
LOG_INTS = 1 << 12
"""A short log: it is emptied now and then, and costs little to make."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One request of a case; `path` names its blocks by branches taken from the root."""

    arrival_s: float
    input_tokens: int
    output_tokens: int
    path: tuple[int, ...] = ()
    names_output: bool = False
    category: int = 0
    parent: int = -1
    think_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Case:
    settings: model.Settings
    id_tokens: int
    rows: tuple[Row, ...] = field(repr=True)

    def ids(self) -> list[tuple[int, ...]]:
        """Each row's block ids; an id determines the ids before it."""
        number: dict[tuple[int, ...], int] = {}
        return [
            tuple(number.setdefault(row.path[: d + 1], len(number)) for d in range(len(row.path)))
            for row in self.rows
        ]

    def covered(self, row: Row) -> int:
        named = row.input_tokens + row.output_tokens if row.names_output else row.input_tokens
        return min(named, len(row.path) * self.id_tokens)

    def trace(self) -> Trace:
        rows = self.rows
        n = len(rows)
        ids = self.ids()
        turn = np.ones(n, np.int64)
        session = np.arange(n)
        for r, row in enumerate(rows):
            if row.parent >= 0:
                turn[r] = turn[row.parent] + 1
                session[r] = session[row.parent]
        return Trace(
            name="case",
            block_size=self.id_tokens,
            request_id=np.arange(n),
            arrival_s=np.array([row.arrival_s for row in rows]),
            input_tokens=np.array([row.input_tokens for row in rows], np.int64),
            output_tokens=np.array([row.output_tokens for row in rows], np.int64),
            parent=np.array([row.parent for row in rows], np.int64),
            session=session,
            turn=turn,
            category=np.array([row.category for row in rows], np.int64),
            category_names=tuple("abcdef"[: 1 + max(row.category for row in rows)]),
            block_ids=np.array([i for path in ids for i in path], np.int64),
            block_offsets=np.cumsum([0, *(len(path) for path in ids)]).astype(np.int64),
            covered_tokens=np.array([self.covered(row) for row in rows], np.int64),
            sessions=Sessions.GIVEN if any(row.parent >= 0 for row in rows) else Sessions.NONE,
            think_s=np.array([row.think_s if row.parent >= 0 else np.nan for row in rows]),
        )

    def requests(self) -> list[model.Request]:
        return [
            model.Request(
                row=r,
                arrival_s=row.arrival_s,
                input_tokens=row.input_tokens,
                output_tokens=row.output_tokens,
                ids=ids,
                id_tokens=self.id_tokens,
                covered_tokens=self.covered(row),
            )
            for r, (row, ids) in enumerate(zip(self.rows, self.ids(), strict=True))
        ]


def prepared_engine(
    case: Case,
    *,
    policy: Policy | str = "lru",
    n_instances: int = 1,
    is_logged: bool = True,
    tiers: TierChoices | None = None,
    engine: Mapping[str, Any] | None = None,
) -> Prepared:
    with mock.patch("kvsim.sim.setup.LOG_INTS", LOG_INTS):
        return _prepared(case, policy, n_instances, is_logged, tiers, engine or {})


def _prepared(
    case: Case,
    policy: Policy | str,
    n_instances: int,
    is_logged: bool,
    tiers: TierChoices | None,
    engine: Mapping[str, Any],
) -> Prepared:
    s = case.settings
    trace = case.trace()
    return prepare(
        trace,
        compile_tree(trace, s.block_size, partial_blocks=False),
        make_policy(policy) if isinstance(policy, str) else policy,
        engine=EngineConfig(
            block_size=s.block_size,
            gpu_blocks=s.n_blocks,
            max_num_seqs=s.max_num_seqs,
            max_num_batched_tokens=s.max_num_batched_tokens,
            long_prefill_token_threshold=s.long_prefill_token_threshold,
            watermark=s.watermark,
            reserve_full_isl=s.reserve_full_isl,
            prefix_caching=s.prefix_caching,
            **engine,
        ),
        n_instances=n_instances,
        latency=LatencyModel.parse(",".join(map(repr, s.latency))),
        seed=0,
        is_logged=is_logged,
        tiers=tiers,
    )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the engine did."""

    prepared: Prepared
    timed: list[str]
    """Digest of the timed decisions of each instance."""
    decisions: list[str]

    @property
    def requests(self) -> Any:
        return self.prepared.cluster.requests


def run_engine(
    case: Case,
    *,
    policy: Policy | str = "lru",
    n_instances: int = 1,
    router: str = "round-robin",
    closed_loop: bool = False,
    log_path: Path | None = None,
) -> Outcome:
    prepared = prepared_engine(case, policy=policy, n_instances=n_instances)
    log = DecisionLog(log_path, n_instances)
    world = World(
        prepared,
        router=router_code(router),
        policy_name="tested",
        closed_loop=closed_loop,
        log=log,
    )
    world.run()
    log.close(keep=True)
    decisions, timed = log.digests()
    return Outcome(prepared=prepared, timed=timed, decisions=decisions)


def engine_lines(case: Case, **how: Any) -> list[list[str]]:
    """The decisions of each instance, a line a step, without times."""
    n = how.get("n_instances", 1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log"
        run_engine(case, log_path=path, **how)
        paths = [path] if n == 1 else [Path(f"{path}.{i}") for i in range(n)]
        return [p.read_text().splitlines(keepends=True) for p in paths]


# Random cases

LATENCIES = (
    (1e-3, 1e-4, 1e-4, 0.0),
    (5e-3, 6e-5, 1e-4, 2e-8),
    (1.0, 0.0, 0.0, 0.0),  # steps end exactly when others arrive
    (0.0, 0.25, 0.0, 0.0),  # a step of decodes takes no time
)
GAPS_S = (0.0, 0.0, 0.001, 0.0022, 0.01, 1.0, 0.25, 40.0)
WATERMARKS = (0.0, 0.0, 0.05, 0.1, 0.3)


def small_settings(draw_int: Any) -> model.Settings:
    """Settings from `draw_int(low, high)`."""
    max_num_seqs = draw_int(1, 8)
    return model.Settings(
        block_size=draw_int(1, 8),
        n_blocks=draw_int(2, 30),
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_seqs + draw_int(0, 40),
        long_prefill_token_threshold=max(0, draw_int(-6, 12)),
        watermark=WATERMARKS[draw_int(0, len(WATERMARKS) - 1)],
        reserve_full_isl=draw_int(0, 2) > 0,
        prefix_caching=draw_int(0, 7) > 0,
        latency=LATENCIES[draw_int(0, len(LATENCIES) - 1)],
    )


def row_from(
    numbers: tuple[int, ...], path: tuple[int, ...], *, after_s: float, id_tokens: int
) -> Row:
    """A row from small numbers: arrival gap, cut or private tail, output, what the ids name."""
    gap, tail, output, kind = numbers
    names_output = kind == 0
    n_named = len(path) * id_tokens
    n_input = n_named + tail - id_tokens  # tail < id_tokens: the last id is cut
    if names_output:
        n_input = max(1, n_named - output - tail % (id_tokens + 1) + 1)
    return Row(
        arrival_s=after_s + GAPS_S[gap],
        input_tokens=max(1, n_input),
        output_tokens=output,
        path=path,
        names_output=names_output,
        category=kind % 3,
    )


NUMBERS = st.tuples(
    st.integers(0, len(GAPS_S) - 1), st.integers(0, 12), st.integers(1, 10), st.integers(0, 5)
)
PATHS = st.lists(st.sampled_from((0, 0, 0, 1, 2)), max_size=7).map(tuple)


@st.composite
def cases(draw: st.DrawFn, *, most_rows: int = 12) -> Case:
    settings = small_settings(lambda low, high: draw(st.integers(low, high)))
    id_tokens = draw(st.one_of(st.just(settings.block_size), st.integers(1, 8)))
    rows: list[Row] = []
    for numbers, path in draw(st.lists(st.tuples(NUMBERS, PATHS), min_size=1, max_size=most_rows)):
        after_s = rows[-1].arrival_s if rows else 0.0
        rows.append(row_from(numbers, path, after_s=after_s, id_tokens=id_tokens))
    return Case(settings=settings, id_tokens=id_tokens, rows=tuple(rows))


def random_case(rng: np.random.Generator, *, n_rows: int) -> Case:
    """A case of many requests that fill the pool: more preemptions than `cases` finds."""

    def draw_int(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    settings = small_settings(draw_int)
    id_tokens = settings.block_size if draw_int(0, 1) else draw_int(1, 8)
    rows: list[Row] = []
    for _ in range(n_rows):
        numbers = draw_int(0, len(GAPS_S) - 2), draw_int(0, 12), draw_int(1, 10), draw_int(0, 5)
        path = tuple(int(x) for x in rng.choice((0, 0, 0, 1, 2), size=draw_int(0, 7)))
        after_s = rows[-1].arrival_s if rows else 0.0
        rows.append(row_from(numbers, path, after_s=after_s, id_tokens=id_tokens))
    return Case(settings=settings, id_tokens=id_tokens, rows=tuple(rows))


def pressed_cases(seed: int, n_cases: int) -> list[Case]:
    """Random cases of many requests, the same for a seed."""
    rng = np.random.default_rng([seed, 30])
    return [random_case(rng, n_rows=int(rng.integers(4, 25))) for _ in range(n_cases)]
