"""Orders of admission other than first come, first served, against a plain model."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import pytest
import scheduler_model as model
from cases import prepared_engine, random_case

from kvsim import ConfigError
from kvsim.sim.config import EngineConfig
from kvsim.sim.engine import World
from kvsim.sim.invariants import check_cluster

WINDOW, PASSES = 6, 3


class Ordered(model.Instance, ABC):
    """Takes the waiting request of most worth first."""

    @abstractmethod
    def worth(self, r: model.Request) -> int:
        """Blocks that count for a request."""

    def order_queue(self) -> None:
        head = self.waiting[0]
        if head.n_preemptions or self.n_passed.get(head.row, 0) >= PASSES:
            return
        best = max(self.waiting[:WINDOW], key=self.worth)
        if best is not head:
            self.n_passed[head.row] = self.n_passed.get(head.row, 0) + 1
            self.waiting.remove(best)
            self.waiting.insert(0, best)


class LongestPrefix(Ordered):
    def worth(self, r: model.Request) -> int:
        return len(self.pool.lookup(self.keys(r, self.lookup_limit(r))))


class ClusterFirst(Ordered):
    def path(self, r: model.Request) -> list[int]:
        """The blocks that others may have, too: the ids name them, and their KV is computed."""
        n_tokens = min(r.covered_tokens, r.input_tokens + r.output_tokens - 1)
        return self.names.keys(r, n_tokens, self.settings.block_size)

    def worth(self, r: model.Request) -> int:
        if self.last_admitted is None:
            return 0
        paths = [self.path(one) for one in (r, self.last_admitted)]
        n = 0
        for a, b in zip(*paths, strict=False):
            if a != b:
                break
            n += 1
        return n


@pytest.mark.parametrize(
    ("admission", "kind"), [("longest-prefix", LongestPrefix), ("cluster-first", ClusterFirst)]
)
def test_the_queue_is_taken_in_the_models_order(admission: str, kind: type[Ordered]) -> None:
    rng = np.random.default_rng(1)
    n_passed = 0
    for n in range(250):
        case = random_case(rng, n_rows=int(rng.integers(6, 25)))
        instance = kind(case.settings)
        requests = case.requests()
        model.run([instance], requests)
        engine = {
            "admission": admission,
            "admission_window": WINDOW,
            "admission_passes": PASSES,
        }
        prepared = prepared_engine(case, is_logged=False, engine=engine)
        World(prepared, router=0, policy_name="lru").run()
        check_cluster(prepared)
        rows = prepared.cluster.requests
        for name in ("first_scheduled_s", "finish_s"):
            found = [None if math.isnan(x) else x for x in rows[name].tolist()]
            assert found == [getattr(r, name) for r in requests], (n, name, case)
        assert rows["n_passed"].tolist() == [instance.n_passed.get(r.row, 0) for r in requests]
        n_passed += int(rows["n_passed"].sum())
    assert n_passed > 100


def test_an_unknown_order_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"engine\.admission must be one of fcfs"):
        EngineConfig(admission="lifo")
