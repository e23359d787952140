"""The contract of a policy whose values change with time or with the waiting queue."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, view
from .base import Binding, Policy, Setting
from .block import Block
from .calls import c_function_of, checked, number, python_function
from .records import Items


class Moment(NamedTuple):
    """What a policy may know at an eviction, beside the block's past: never the future.

    A cache-only replay has no queue. There, and for a policy that does not ask for it, nobody
    is known to wait for any block: (now_s, inf, 0, 0, 0).
    """

    now_s: float
    """Simulated time, in seconds."""
    next_start: float
    """Waiting requests before the first one whose prompt contains the block; infinite if none
    that was looked at does."""
    n_waiting_users: float
    """Waiting requests looked at whose prompts contain the block."""
    is_fresh: float
    """1 if the block was cached after the last look at the queue: then the two before say nothing;
    else 0."""
    n_waiting: float
    """Waiting requests looked at."""


class SampledPolicy(Policy):
    """A policy of one value a block at the time of an eviction: the lowest one leaves.

    The values of `n_samples` candidates drawn at random are compared, or of all if that is 0.
    Equal values: the longest unused block first, then the deeper one. After the victim go the
    blocks above it that were cached and last used by the same requests, one by one, as long as the
    request needs room; only then are values compared again.
    """

    keys_may_grow = True
    compiled: ClassVar[bool] = False
    """Whether `value` is a static method of plain arithmetic, to be compiled."""
    needs_queue: ClassVar[bool] = False
    """Whether it looks at the waiting queue."""

    n_samples: int = 32
    """Candidates whose values are compared; 0 for all. The lowest of 32 is, in the mean, among the
    lowest 3 % of all."""
    window: int = 64
    """Waiting requests looked at, from the head of the queue, if it `needs_queue`."""
    refresh_steps: int = 1
    """Scheduler steps between two looks at the queue; after a preemption it looks anew."""

    @abstractmethod
    def value(self, block: Block, now: Moment, p: Sequence[float]) -> float:
        """Worth of keeping `block`; `p` is the row of `params` for the block's category."""

    def params(self, setting: Setting) -> NDArray[np.float64]:
        """(n_categories, 3 or more): the numbers that `value` gets for each category.

        If the policy follows the arrivals (`Binding.fit_arguments`), the fit writes the first 3.
        """
        return np.zeros((len(setting.category_names), 3))

    def bind(self, setting: Setting) -> Binding:
        from .draws import seed_of
        from .order import SAMPLED
        from .records import DEMAND

        for name, least in (("n_samples", 0), ("window", 1), ("refresh_steps", 1)):
            if getattr(self, name) < least:
                raise ConfigError(
                    f"{type(self).__name__}: {name} must be at least {least},"
                    f" got {getattr(self, name)}"
                )
        binding = Binding(mode=SAMPLED, n_queues=len(setting.category_names))
        binding.params = np.ascontiguousarray(self.params(setting), np.float64)
        binding.n_samples = self.n_samples
        binding.generators = [seed_of(setting, cache) for cache in range(setting.n_caches)]
        if self.needs_queue:
            binding.window = self.window
            binding.refresh_steps = self.refresh_steps
            binding.demands = np.zeros(setting.n_items, DEMAND)
        if self.compiled:
            binding.value = _compiled(type(self))
            binding.is_searched = True
        else:
            binding.value = self._python_value(binding)
        return binding

    def _python_value(self, binding: Binding) -> int:
        from .records import N_FEATURES
        from .sampling import N_MOMENT

        make_block: Any = Block  # it declares as int what comes as float

        def value(block_id: int, _row: int, _n_params: int, *numbers: float) -> float:
            block = make_block(block_id, *numbers[: N_FEATURES - 1])
            p = binding.params[int(block.category)].tolist()
            return number(self.value(block, Moment(*numbers[N_FEATURES - 1 :]), p), "value()")

        return python_function(value, 3, N_FEATURES - 1 + N_MOMENT, binding)


def _compiled(policy: type[SampledPolicy]) -> int:
    """Compile the search of a sample with the policy's value in it: no call for each candidate."""
    from .records import features, heaps_at, items_at
    from .sampling import lowest_by, moment

    value: Any = inner(checked(policy, "value", ("block", "now", "p")))
    make_block: Any = Block
    make_moment: Any = Moment

    def value_of(items: Items, x: int, looked_at: Any) -> float:
        _, params, n_params, _, _, _, _, _ = looked_at
        block = make_block(x, *features(items, x, 1.0))
        now = make_moment(*moment(items, x, looked_at))
        row = params + 8 * n_params * items[x].category
        return float(value(block, now, view(row, (n_params,), np.float64)))

    search = lowest_by(inner(value_of))

    def call(
        items: int,
        row: int,
        n: int,
        n_drawn: int,
        generator: int,
        params: int,
        n_params: int,
        demands: int,
        n_scans: int,
        n_known: int,
        now_s: float,
        n_waiting: float,
    ) -> float:
        looked_at = (0, params, n_params, demands, n_scans, n_known, now_s, n_waiting)
        # nobody knows here how many items there are: indices are never below 0
        found = search(items_at(items, 1), heaps_at(row, n), n, n_drawn, generator, looked_at)
        return float(found)

    return c_function_of(policy, call, 10, 2)
