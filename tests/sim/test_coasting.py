"""A run without a log, which coasts through steps that repeat, ends as one that takes each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cases import LATENCIES, Case, prepared_engine, random_case
from scheduler_model import ROUTERS

from kvsim.sim.engine import World
from kvsim.sim.router import router_code
from kvsim.sim.setup import Prepared

OPEN_STEP = {"last_sample", "head_request", "is_quiet", "had_waiting", "free_blocks", "n_entries"}
"""What is left of the last step; of no meaning after a run."""


def decoding_cases(seed: int, n_cases: int) -> list[Case]:
    """Cases of large blocks and long outputs: most steps decode only."""
    rng = np.random.default_rng([seed, 40])
    found = []
    for _ in range(n_cases):
        case = random_case(rng, n_rows=int(rng.integers(2, 25)))
        rows = tuple(
            replace(
                row,
                arrival_s=row.arrival_s * float(rng.choice((1.0, 0.1))),
                output_tokens=int(rng.integers(1, 80)) if rng.random() < 0.8 else 1,
            )
            for row in case.rows
        )
        at_s = np.sort([row.arrival_s for row in rows]).tolist()
        rows = tuple(replace(row, arrival_s=t) for row, t in zip(rows, at_s, strict=True))
        settings = replace(
            case.settings,
            block_size=int(rng.choice((1, 4, 16, 64))),
            n_blocks=int(rng.integers(2, 60)),
            latency=LATENCIES[int(rng.integers(len(LATENCIES)))],
        )
        found.append(replace(case, settings=settings, rows=rows))
    return found


def run(
    case: Case, *, is_logged: bool, n_instances: int, router: str, closed_loop: bool, policy: str
) -> Prepared:
    prepared = prepared_engine(case, policy=policy, n_instances=n_instances, is_logged=is_logged)
    if is_logged:  # room for the whole log, so that no one has to empty it
        assert prepared.cluster.log.size
    World(prepared, router=router_code(router), policy_name=policy, closed_loop=closed_loop).run()
    return prepared


@pytest.mark.parametrize("closed_loop", [False, True])
@pytest.mark.parametrize(
    ("n_instances", "router", "policy"),
    [
        (1, "round-robin", "lru"),
        *((3, router, "lru") for router in ROUTERS),
        (2, "least-loaded", "lfu"),
    ],
)
def test_a_run_that_coasts_ends_as_one_that_takes_every_step(
    monkeypatch: pytest.MonkeyPatch,
    n_instances: int,
    router: str,
    policy: str,
    *,
    closed_loop: bool,
) -> None:
    monkeypatch.setattr("cases.LOG_INTS", 1 << 19)
    n_steps = 0
    for case in decoding_cases(n_instances, 80):
        coasting, stepping = (
            run(
                case,
                is_logged=is_logged,
                n_instances=n_instances,
                router=router,
                closed_loop=closed_loop,
                policy=policy,
            ).cluster
            for is_logged in (False, True)
        )
        for table in ("requests", "pools", "instances"):
            ours, theirs = getattr(coasting, table), getattr(stepping, table)
            for name in ours.dtype.names:
                if name not in OPEN_STEP:
                    np.testing.assert_array_equal(ours[name], theirs[name], f"{name} {case}")
        np.testing.assert_array_equal(coasting.samples, stepping.samples, f"samples {case}")
        n_steps += int(stepping.instances["steps"].sum())
    assert n_steps > 10_000
