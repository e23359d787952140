"""The simpy world: arrivals, routing, closed-loop sessions. Knows no block and no policy.

simpy moves the world from one interaction to the next; between them, compiled code moves the
instances. In an open loop nothing depends on a finish, so the arrivals process hands over long
runs of arrivals at once. In a closed loop every session is a process that sleeps through its
think time, and the instances stop at each finish that a session waits for.

Equal times: what finishes comes first, then arrivals, then the start of a step.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any

import numpy as np
import simpy
from numpy.typing import NDArray

from ..kernels import branching_kernel, inner
from ..policies.reuse_fit import ReuseFit, observe
from .decision_log import DecisionLog
from .event_calendar import AFTER_ARRIVALS, Calendar
from .event_log import EventLog
from .instance import (
    FULL_LOG,
    OK,
    PAUSED,
    POLICY_ERROR,
    advance,
    begin_step,
    enqueue,
    next_event_s,
)
from .records import (
    FINISHED,
    MARK_ALLOWANCE,
    MARK_AWAITED,
    MARK_ROUTED,
    MARK_TRANSFERS,
    PENDING,
    REJECTED,
)
from .router import ROUND_ROBIN, choose
from .setup import Prepared
from .state import State, instances, marks, params, requests, sizes, tier_params
from .tier_setup import TIER_NAMES
from .transfers import Transfers

STEPS_A_CALL = 1 << 18
"""Scheduler steps before compiled code returns, so that a run can be watched and interrupted."""
ARRIVALS_A_CALL = 1 << 14

AWAITED = 5
"""Status of `_advance_to_finish`: an awaited request finished."""
TRANSFERS = 6
"""Status of `_advance_to_finish`: there are transfers to begin."""

Progress = Callable[[int, int, float], None]
"""Called with (requests done, of, simulated time in s)."""


class World:
    """One run: the prepared state, moved to its end by `run`."""

    def __init__(
        self,
        prepared: Prepared,
        *,
        router: int,
        policy_name: str,
        tier_policy_names: Mapping[str, str] | None = None,
        closed_loop: bool = False,
        log: DecisionLog | None = None,
        events: EventLog | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._prepared = prepared
        self._cluster = prepared.cluster
        self._router = router
        self._policy_name = policy_name
        self._tier_policy_names = tier_policy_names or {}
        self._closed_loop = closed_loop
        self._logs = [taker for taker in (log, events) if taker is not None]
        self._progress = progress
        self._keys = np.empty(prepared.longest_blocks, np.int32)
        self._env = Calendar()
        self._finishes: dict[int, simpy.Event] = {}
        is_fair = bool(self._cluster.record["is_fair"][0])
        self._transfers = Transfers(self._cluster, self._env) if is_fair else None

    def run(self) -> None:
        """Run to the end.

        Raises:
            PolicyError: the policy failed.
        """
        if self._closed_loop or self._transfers is not None:
            self._start_sessions()
            self._env.process(self._clock())
        else:
            self._env.process(self._arrivals())
        self._env.run()
        self._empty_logs()

    # open loop

    def _arrivals(self) -> Generator[simpy.Event, Any, None]:
        arrival_s = self._cluster.requests["arrival_s"]
        n = len(arrival_s)
        for start in range(0, n, ARRIVALS_A_CALL):
            end = min(start + ARRIVALS_A_CALL, n)
            yield self._env.timeout(max(0.0, arrival_s[end - 1] - self._env.now))
            self._run_to(start, end, arrival_s[end - 1])
        self._run_to(n, n, np.inf)
        last_s = float(np.max(self._cluster.instances["now_s"], initial=0.0))
        yield self._env.timeout(max(0.0, last_s - self._env.now))

    def _run_to(self, start: int, end: int, until_s: float) -> None:
        """Let requests start .. end - 1 arrive and advance all instances to `until_s`."""
        status = PAUSED
        while status != OK:
            status, start, _ = self._move(False, start, end, until_s)
            self._handle(status)

    def _move(
        self, is_to_finish: bool, start: int, end: int, until_s: float
    ) -> tuple[int, int, float]:
        status, at, at_s = _move(
            is_to_finish,
            self._cluster.address,
            self._prepared.fit,
            self._prepared.tier_fit,
            self._router,
            self._keys,
            start,
            end,
            until_s,
        )
        return status, at, at_s

    def _handle(self, status: int) -> None:
        """Deal with what made compiled code return."""
        self._cluster.marks[MARK_ALLOWANCE] = STEPS_A_CALL
        if status == POLICY_ERROR:
            prepared, cluster = self._prepared, self._cluster
            n = len(cluster.instances)
            for name, binding in prepared.tier_bindings.items():
                orders = cluster.tier_orders[TIER_NAMES[name] * n : (TIER_NAMES[name] + 1) * n]
                if orders["error"].any() or binding.errors:
                    raise binding.failure(self._tier_policy_names.get(name, name), orders)
            raise prepared.binding.failure(self._policy_name, cluster.orders)
        if status == FULL_LOG:
            self._empty_logs()
        if self._progress is not None:
            done = int(self._cluster.instances["finished"].sum())
            self._progress(done, len(self._cluster.requests), float(self._env.now))

    def _empty_logs(self) -> None:
        for log in self._logs:
            log.take(self._cluster)

    # closed loop

    def _start_sessions(self) -> None:
        requests = self._cluster.requests
        trace = self._prepared.trace
        status = requests["status"]
        follows = (trace.parent >= 0) & (status[trace.parent] != REJECTED)
        parent = np.where(follows & self._closed_loop, trace.parent, -1)
        children: dict[int, list[int]] = {}
        for row in np.flatnonzero((parent >= 0) & (status != REJECTED)).tolist():
            children.setdefault(int(parent[row]), []).append(row)
        for row in children:
            requests["is_awaited"][row] = 1
        think_s = think_times_s(self._prepared)
        for row in np.flatnonzero((parent < 0) & (status != REJECTED)).tolist():
            arrival_s = float(requests["arrival_s"][row])
            self._env.process(self._session(row, arrival_s, children, think_s))

    def _session(
        self,
        row: int,
        arrival_s: float,
        children: dict[int, list[int]],
        think_s: NDArray[np.float64],
    ) -> Generator[simpy.Event, Any, None]:
        """One request, then whatever continues it, each after its think time."""
        yield self._env.at(arrival_s, simpy.events.NORMAL, row)
        requests = self._cluster.requests
        requests["arrival_s"][row] = arrival_s
        self._run_to(row, row + 1, arrival_s)
        if row in children:
            finish = self._finishes[row] = self._env.event()
            yield finish
            finish_s = float(requests["finish_s"][row])
            for child in children[row]:
                at_s = finish_s + float(think_s[child])
                self._env.process(self._session(child, at_s, children, think_s))

    def _clock(self) -> Generator[simpy.Event, Any, None]:
        """Move the instances to the next interaction, over and over; wake waiting sessions."""
        awaited = np.flatnonzero(self._cluster.requests["is_awaited"])
        requests = self._cluster.requests
        while True:
            horizon_s = self._env.peek()
            status, _, now_s = self._move(True, 0, 0, horizon_s)
            if status in (AWAITED, TRANSFERS):
                yield self._env.at(now_s, simpy.events.URGENT)
                if self._transfers is not None:
                    self._transfers.begin()
            if status == AWAITED:
                done = awaited[requests["status"][awaited] == FINISHED]
                awaited = awaited[requests["status"][awaited] != FINISHED]
                for row in done.tolist():
                    self._finishes.pop(row).succeed()
            elif status not in (OK, TRANSFERS):
                self._handle(status)
            elif status == OK and np.isinf(horizon_s):
                return
            elif status == OK:
                yield self._env.at(horizon_s, AFTER_ARRIVALS)


def think_times_s(prepared: Prepared) -> NDArray[np.float64]:
    """Seconds between a parent's finish and its child's arrival, (n_requests,).

    The trace's own where it has them; else the gap between the two arrivals less the time that
    the parent takes alone on an idle instance, at least 0.
    """
    trace = prepared.trace
    think_s = np.zeros(len(trace))
    for row in np.flatnonzero(trace.parent >= 0).tolist():
        if trace.think_s is not None and not np.isnan(trace.think_s[row]):
            think_s[row] = trace.think_s[row]
            continue
        parent = int(trace.parent[row])
        alone_s = prepared.latency.unloaded_s(
            int(trace.input_tokens[parent]),
            int(trace.output_tokens[parent]),
            max_num_batched_tokens=prepared.engine.max_num_batched_tokens,
        )
        gap_s = float(trace.arrival_s[row] - trace.arrival_s[parent])
        think_s[row] = max(0.0, gap_s - alone_s)
    return think_s


@branching_kernel
def _move(
    is_to_finish: bool,
    c: State,
    fit: ReuseFit,
    tier_fit: ReuseFit,
    router: int,
    keys: NDArray[np.int32],
    start: int,
    end: int,
    until_s: float,
) -> tuple[int, int, float]:
    """Do one or the other of the functions below: they share nearly all code, compiled once.

    Returns (status, first request that has not arrived, time reached).
    """
    if is_to_finish:
        status, at_s = _advance_to_finish(c, until_s)
        return status, start, at_s
    status, at = _run(c, fit, tier_fit, router, keys, start, end, until_s)
    return status, at, until_s


@inner
def _run(
    c: State,
    fit: ReuseFit,
    tier_fit: ReuseFit,
    router: int,
    keys: NDArray[np.int32],
    start: int,
    end: int,
    until_s: float,
) -> tuple[int, int]:
    """Let requests start .. end - 1 arrive in turn, then advance all instances to `until_s`.

    Returns (status, first request that has not arrived).
    """
    r = start
    while True:
        while r < end and requests(c)[r].status != PENDING:
            r += 1
        now_s = requests(c)[r].arrival_s if r < end else until_s
        first, last = 0, sizes(c).n_instances
        if router == ROUND_ROBIN and r < end:  # whose turn it is does not depend on the others
            first = marks(c)[MARK_ROUTED] % sizes(c).n_instances
            last = first + 1
        for i in range(first, last):
            status = advance(c, i, now_s)
            if status != OK:
                return int(status), r
        if r == end:
            return OK, end
        request = requests(c)[r]
        if len(fit.segments) > 0:
            observe(fit, request.end, request.n_shared, request.category, now_s, params(c))
        if len(tier_fit.segments) > 0:
            observe(
                tier_fit, request.end, request.n_shared, request.category, now_s, tier_params(c)
            )
        enqueue(c, choose(c, r, router, keys), r)
        r += 1


@inner
def _advance_to_finish(c: State, until_s: float) -> tuple[int, float]:
    """Move all instances in step with each other until an awaited request finishes."""
    marks(c)[MARK_AWAITED] = 0
    while True:
        first_s = np.inf
        first = np.int64(-1)  # a plain -1 is a type of its own: all it is passed to compiles twice
        for i in range(sizes(c).n_instances):
            at_s = next_event_s(c, i)
            is_ending = instances(c)[i].is_stepping
            if at_s < first_s or (
                at_s == first_s and is_ending and first >= 0 and not instances(c)[first].is_stepping
            ):
                first_s, first = at_s, np.int64(i)
        if first < 0 or first_s > until_s:
            return OK, until_s
        if instances(c)[first].is_stepping:
            status = advance(c, first, first_s)  # commits; starts nothing at first_s
        elif first_s >= until_s:
            return OK, until_s
        else:
            status = begin_step(c, first, until_s)
        if status != OK:
            return int(status), first_s
        if marks(c)[MARK_AWAITED]:
            return AWAITED, first_s
        if marks(c)[MARK_TRANSFERS]:
            return TRANSFERS, first_s
