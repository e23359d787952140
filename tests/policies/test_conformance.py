"""`check_policy` passes every policy of the registry, and tells a broken one what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from kvsim import ConfigError, PolicyError
from kvsim.policies import (
    POLICIES,
    Block,
    EvictionPolicy,
    Moment,
    Policy,
    QueuePolicy,
    SampledPolicy,
    ScorePolicy,
)
from kvsim.policies.base import Setting
from kvsim.policies.lru import Lru
from kvsim.policies.testing import check_policy
from kvsim.policies.workload_aware import WorkloadAware


@pytest.mark.parametrize("name", [*POLICIES, "workload-aware,retag=true", "s3-fifo,promote_at=1"])
def test_every_policy_conforms(name: str) -> None:
    check_policy(name)


def test_a_policy_of_ones_own_is_checked_by_address(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from kvsim.policies import ScorePolicy\n"
        "class Mine(ScorePolicy):\n"
        "    def score(self, block):\n"
        "        return block.n_hits / (1 + block.last_access - block.inserted)\n"
    )
    check_policy(f"{path}:Mine", n_cases=5)


class Later(EvictionPolicy):
    """Last in, first out: a correct policy of its own order, to break below."""

    def __init__(self) -> None:
        self.candidates: list[int] = []

    def add(self, block: Block) -> None:
        self.candidates.append(block.block_id)

    def remove(self, block: Block) -> None:
        self.candidates.remove(block.block_id)

    def victim(self) -> int:
        return self.candidates[-1]


def test_a_policy_with_its_own_order_conforms() -> None:
    check_policy(Later())


class LooksAround(SampledPolicy):
    """Looks at all that a policy may know at an eviction."""

    compiled = True
    needs_queue = True
    n_samples = 3
    window = 4

    @staticmethod
    def value(block: Block, now: Moment, p: Sequence[float]) -> float:
        age_s = now.now_s - block.last_access_s
        return p[0] + 2 * now.n_waiting_users - min(now.next_start, 9) - age_s - 3 * now.is_fresh

    def params(self, setting: Setting) -> NDArray[np.float64]:
        return np.arange(4.0 * len(setting.category_names)).reshape(-1, 4)


class LooksAtAll(LooksAround):
    n_samples = 0
    refresh_steps = 3


class LooksInPython(LooksAround):
    compiled = False


@pytest.mark.parametrize("make", [LooksAround, LooksAtAll, LooksInPython])
def test_a_policy_of_the_moment_conforms(make: Callable[[], Policy]) -> None:
    check_policy(make())


class LooksAtDepth(ScorePolicy):
    def score(self, block: Block) -> float:
        return block.depth


class LooksAtDepthAndSaysSo(LooksAtDepth):
    is_uniform = False


class LooksAtKeys(ScorePolicy):
    def score(self, block: Block) -> float:
        return block.key % 5


class Counts(ScorePolicy):
    """Not a function of the block."""

    is_uniform = False

    def __init__(self) -> None:
        self.n = 0

    def score(self, block: Block) -> float:
        self.n += 1
        return self.n % 7


class NotANumber(ScorePolicy):
    def score(self, block: Block) -> float:
        return math.nan


class Raises(ScorePolicy):
    def score(self, block: Block) -> float:
        raise ValueError("what now?")


class ForgetsToRemove(Later):
    def remove(self, block: Block) -> None: ...


class SharesItsState(Later):
    def fresh(self, setting: object) -> EvictionPolicy:
        return self


class Invents(Later):
    def victim(self) -> int:
        return 10_000


class KeepsItsState(Later):
    """A run is not like the run before."""

    n_runs = 0

    def fresh(self, setting: object) -> EvictionPolicy:
        KeepsItsState.n_runs += 1
        made = Later()
        if (KeepsItsState.n_runs - 1) % 8 in (2, 3):  # the second run on a case
            made.victim = lambda: made.candidates[0]  # type: ignore[method-assign]
        return made


class Undefined(QueuePolicy):
    def value(self, category: int, age_s: float, a: float, b: float, c: float) -> float:
        return math.log(-1.0)


class Worthless(LooksAround):
    compiled = False

    def value(self, block: Block, now: Moment, p: Sequence[float]) -> float:  # type: ignore[override]
        return math.nan


BROKEN: list[tuple[Callable[[], Policy], type[Exception], str]] = [
    (LooksAtDepth, AssertionError, "depends on a block's depth: say is_uniform = False"),
    (LooksAtKeys, AssertionError, "depends on a block's key"),
    (Counts, AssertionError, "in plain Python"),
    (NotANumber, PolicyError, "not a number"),
    (Raises, PolicyError, "ValueError: what now?"),
    (ForgetsToRemove, PolicyError, "must name an idle cached block"),
    (SharesItsState, PolicyError, "policy SharesItsState"),
    (Invents, PolicyError, "victim() returned 10000"),
    (KeepsItsState, AssertionError, "hits differ from run to run"),
    (Undefined, PolicyError, "ValueError"),
    (Worthless, PolicyError, "not a number"),
]


@pytest.mark.parametrize(
    ("make", "kind", "message"), BROKEN, ids=lambda x: getattr(x, "__name__", "")
)
def test_a_broken_policy_is_told_what_is_wrong(
    make: Callable[[], Policy], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        check_policy(make())
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"policy {make.__name__}: ")


def test_a_policy_that_looks_at_depth_conforms_if_it_says_so() -> None:
    check_policy(LooksAtDepthAndSaysSo())


def test_a_compiled_function_that_differs_from_the_python_one_is_noticed() -> None:
    class Twofaced(Lru):
        """Its compiled function is another one."""

    check_policy(Twofaced(), n_cases=3)
    Twofaced.score = staticmethod(lambda block: -block.last_access)  # type: ignore[method-assign]
    with pytest.raises(AssertionError, match="compiled it evicts"):
        check_policy(Twofaced())


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ConfigError, match="life_s must be positive"):
        check_policy(WorkloadAware(life_s=0.0))
    with pytest.raises(ConfigError, match="window must be at least 1"):
        check_policy("lsm-gnn,window=0")
    with pytest.raises(ConfigError, match="did you mean 'lfu'"):
        check_policy("lfv")
