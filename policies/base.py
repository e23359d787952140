"""The contract between a cache, which counts, and a policy, which chooses.

A policy orders the *candidates*: cached blocks that no request uses and that have no cached
child, so that a prefix is always trimmed from its tail (unless it `takes_any`). It never sees the
future (unless it says `needs_future`), and never touches residency, pins or statistics.

Four ways to write one, from short to free:

- `ScorePolicy`: one number a block, the lowest leaves first;
- `QueuePolicy`: one queue a category in order of last use, their heads' values compared;
- `SampledPolicy` (in `kvsim.policies.sampled`): a value at the time of the eviction, compared
  over a random sample of the candidates, which may look at the waiting queue;
- `EvictionPolicy`: your own order, told of every event.

The first three may say `compiled = True` if their function is plain arithmetic; the victims are
the same either way.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError, PolicyError
from .block import Block as Block
from .calls import compiled_events, compiled_score, compiled_value, number, python_function


class History(NamedTuple):
    """The first requests of a trace, and the prefix tree of their blocks, run by run."""

    arrival_s: NDArray[np.float64]
    """(n_requests,), in order."""
    category: NDArray[np.int32]
    """(n_requests,)"""
    end: NDArray[np.int32]
    """(n_requests,): run where a request's path ends; -1 for none."""
    parent: NDArray[np.int32]
    """(n_runs,): the run before; -1 at the root."""
    n_blocks: NDArray[np.int32]
    """(n_runs,)"""
    depth: NDArray[np.int32]
    """(n_runs,): blocks before the first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What a policy may know about the cache it orders, before a run."""

    n_items: int
    """Blocks (or runs of blocks) of all caches; ids are below it."""
    n_caches: int
    n_keys: int
    """Distinct contents, of blocks or of runs of them; keys are below it."""
    capacity_blocks: int
    """Usable blocks of one cache."""
    category_names: tuple[str, ...]
    seed: int
    first_part: Callable[[float], History] | None = None
    """Gives a share of the trace's requests, from the first on, to a policy that learns before the
    run and makes use of it after the last of them has arrived; None if there is no trace."""
    rehearse: Callable[[Policy, float, int], int] | None = None
    """Replays that share of the trace's requests, in file order, in one empty cache of so many
    blocks under another policy: blocks hit. None if there is no trace."""
    parent_keys: Callable[[], NDArray[np.int32]] | None = None
    """Gives the key of what is above each key, (n_keys,), -1 for none; None if nobody knows."""
    path_lengths: Callable[[int], int] | None = None
    """In a tier below the GPU, which sees no whole paths: gives the address of the record of
    `path_lengths.PATH_LENGTHS` that is kept up to date for one of its caches."""
    block_size: int = 16
    """Tokens a block."""
    hits_go_down: bool = False
    """Whether a request's hits are told from the start of its path on, not from their end."""
    pieces: int = 0
    """Address of a record of `records.PIECE` for each item, which tells what is above it; 0 if the
    owner keeps none."""
    n_uses: int = 0
    """Above the number of any last use, if no two candidates ever have the same one, as where the
    requests come one at a time; 0 if some may."""
    kept_alive: list[Any] = field(default_factory=list)

    @property
    def is_below(self) -> bool:
        """Whether the cache is a tier below the GPU."""
        return self.path_lengths is not None

    def above(self) -> NDArray[np.int32]:
        """(n_keys,): the key above each key, -1 for none, and for all if nobody knows."""
        if self.parent_keys is None:
            return np.full(self.n_keys, -1, np.int32)
        return np.ascontiguousarray(self.parent_keys(), np.int32)

    def keep(self, *arrays: NDArray[Any]) -> None:
        """Keep arrays alive whose addresses a compiled policy holds."""
        self.kept_alive.extend(arrays)


@dataclass(slots=True, kw_only=True)
class Binding:
    """A policy tied to the compiled machinery for one run. Addresses are of C functions."""

    mode: int
    score: int = 0
    value: int = 0
    events: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """(order.N_EVENTS,): of a function for each event, if it has an order of its own."""
    states: list[int] = field(default_factory=list)
    n_queues: int = 1
    params: NDArray[np.float64] = field(default_factory=lambda: np.zeros((1, 3)))
    """(n_queues, at least 3): numbers of each category."""
    is_retagged: bool = False
    is_stamped_on_release: bool = False
    """Whether the last use of a block ends when its last user gives it up, in a timed run."""
    is_stamped_on_hit: bool = False
    """Whether, in a timed run, only a hit counts as a use of a block: one cached anew keeps the
    time of what was in its memory before, long ago if nothing was ever hit there."""
    has_rising_scores: bool = False
    """See `Policy.has_rising_scores`."""
    drops_whole: bool = False
    """Whether what goes on leaving after a victim leaves at once, needed or not (see `order.rest`).
    Of a policy with its own order only."""
    hears_misses: bool = False
    hears_hits: bool = False
    """Whether it is told of hits; of a policy with its own order only."""
    n_samples: int = 0
    """Candidates whose values are compared at an eviction; 0 for all. Of a sampled policy only,
    like what follows up to `demands`."""
    is_searched: bool = False
    """Whether `value` is the function that searches the sample, not that of one value."""
    generators: list[int] = field(default_factory=list)
    window: int = 0
    """Waiting requests that are looked at; 0: the policy does not ask for the queue."""
    refresh_steps: int = 1
    """Scheduler steps from one look at the queue to the next."""
    demands: NDArray[Any] | None = None
    """(n_items,) of `records.DEMAND`, if there is a window."""
    fit_arguments: dict[str, Any] | None = None
    """How a `kvsim.policies.reuse_fit.ReuseFit` follows the arrivals and rewrites `params`."""
    errors: list[BaseException] = field(default_factory=list)
    kept_alive: list[Any] = field(default_factory=list)

    def apply(self, orders: NDArray[Any]) -> None:
        """Write the addresses into the orders of all caches (records of `order.ORDER`)."""
        orders["score"] = self.score
        orders["value"] = self.value
        orders["events"] = self.events.ctypes.data
        orders["is_retagged"] = self.is_retagged
        orders["is_stamped_on_release"] = self.is_stamped_on_release
        orders["is_stamped_on_hit"] = self.is_stamped_on_hit
        orders["has_rising_scores"] = self.has_rising_scores
        orders["drops_whole"] = self.drops_whole
        orders["hears_misses"] = self.hears_misses
        orders["hears_hits"] = self.hears_hits
        if self.states:
            orders["state"] = self.states
        orders["params"] = self.params.ctypes.data
        orders["n_params"] = self.params.shape[1]
        orders["n_samples"] = self.n_samples
        orders["is_searched"] = self.is_searched
        if self.generators:
            orders["generator"] = self.generators
        orders["window"] = self.window
        orders["refresh_steps"] = self.refresh_steps
        if self.demands is not None:
            orders["demands"] = self.demands.ctypes.data

    def failure(self, name: str, orders: NDArray[Any]) -> PolicyError:
        """Explain what went wrong, after a run stopped on a policy error.

        Raises:
            KeyboardInterrupt: it was an interrupt that reached Python inside the policy.
        """
        if self.errors:
            error = self.errors[0]
            if isinstance(error, KeyboardInterrupt):
                raise error
            where = _place_of(error)
            return PolicyError(f"policy {name}: {type(error).__name__}: {error}{where}")
        bad = orders[orders["error"] != 0][0]
        if bad["error"] == 2:
            return PolicyError(
                f"policy {name}: victim() returned {bad['culprit']}: it must name an idle cached"
                " block without cached children"
            )
        return PolicyError(f"policy {name}: a score was not a number (NaN)")


def _place_of(error: BaseException) -> str:
    """Say where a policy raised, unless that was in kvsim itself."""
    from traceback import extract_tb

    frames = extract_tb(error.__traceback__)
    own = Path(__file__).parent
    if not frames or Path(frames[-1].filename).parent == own:
        return ""
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})"


class Policy(ABC):
    """An eviction policy; its parameters are the fields of the dataclass that implements it."""

    needs_future: ClassVar[bool] = False
    """Whether it may see `Block.next_use`: an offline policy, for bounds."""
    is_unbounded: ClassVar[bool] = False
    """Whether its caches are to hold all that they are given: a yardstick, too. Whoever makes the
    caches sees to their size."""
    is_uniform: ClassVar[bool] = True
    """Whether a cache-only replay may handle blocks used by the same requests as one, a run: they
    always get the same score. Say False if the score looks at `depth`, `key` or `block_id`."""
    has_rising_scores: ClassVar[bool] = False
    """Whether of blocks used by the same requests the deeper one never scores lower: then those of
    a run leave one after the other as if they scored alike, and `is_uniform` may stay."""
    keys_may_grow: ClassVar[bool] = False
    """Whether a cache-only replay may handle as one run what later requests append to a path and
    what is above it, from when on no request uses one without the other: they share a key, though
    what is above was used before. Say True if nothing is counted by key. Of use if `is_uniform`."""
    hears_misses: ClassVar[bool] = False
    """Whether a policy with its own order is told which blocks a request lacks.

    That is once a request, deepest block first, after the uses of what it found and before room is
    made for any of them: in a timed run when it leaves the queue (again if it was preempted since;
    of what is loaded before its turn when that begins), in a lower tier when a block is about to
    enter it. A block that the cache holds is none, even if the request must compute it again.
    """

    @property
    def takes_any(self) -> bool:
        """Whether every idle block is a candidate, also with cached children, which are out of
        reach until it is cached again. Of a policy of category queues only."""
        return False

    @abstractmethod
    def bind(self, setting: Setting) -> Binding:
        """Tie the policy to one run."""

    @classmethod
    def kind(cls) -> str:
        """`online`, or `offline` for what no engine could run: a yardstick."""
        return "offline" if cls.needs_future or cls.is_unbounded else "online"

    @classmethod
    def summary(cls) -> str:
        """First line of the docstring."""
        return (cls.__doc__ or cls.__name__).strip().splitlines()[0]

    @classmethod
    def with_params(cls, params: dict[str, str]) -> Policy:
        """Build the policy from textual parameters, by the types of its fields.

        Raises:
            ConfigError: an unknown parameter or a value of the wrong type.
        """
        known: dict[str, Any] = getattr(cls, "__dataclass_fields__", {})
        values: dict[str, object] = {}
        for name, text in params.items():
            if name not in known:
                allowed = ", ".join(known) or "none"
                raise ConfigError(f"{cls.__name__}: unknown parameter {name!r} (known: {allowed})")
            values[name] = _parse(cls.__name__, name, text, known[name])
        for name, found in known.items():
            is_needed = found.init and found.default is found.default_factory is dataclasses.MISSING
            if is_needed and name not in values:
                raise ConfigError(f"{cls.__name__}: {name} has no default: add ,{name}=VALUE")
        try:
            return cls(**values)
        except TypeError as error:
            raise ConfigError(
                f"{cls.__name__}: cannot be made: {error}; parameters are fields of a dataclass"
            ) from None


def _parse(owner: str, name: str, text: str, known: dataclasses.Field[Any]) -> object:
    kind: type = type(known.default)
    if known.default is None or known.default is dataclasses.MISSING:
        written: str = getattr(known.type, "__name__", None) or str(known.type)
        names = {"bool": bool, "int": int, "float": float}
        kind = names.get(written.partition("|")[0].strip(), str)
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        if kind in (int, float):
            return kind(text)
    except (KeyError, ValueError):
        raise ConfigError(f"{owner}: {name} must be {kind.__name__}, got {text!r}") from None
    return text


class ScorePolicy(Policy):
    """A policy that is one number a block: the lowest score leaves first.

    The score is asked once, when the block becomes a candidate, and may depend only on the
    block. Equal scores: the longest unused block first, then the deeper one.
    """

    keys_may_grow = True
    compiled: ClassVar[bool] = False
    """Whether `score` is a static method of plain arithmetic, to be compiled."""

    @abstractmethod
    def score(self, block: Block) -> float:
        """Worth of keeping `block`."""

    def bind(self, setting: Setting) -> Binding:
        from .order import N_FEATURES, SCORED

        binding = Binding(mode=SCORED, has_rising_scores=self.has_rising_scores)
        if self.compiled:
            binding.score = compiled_score(type(self))
        else:
            binding.score = python_function(self._score_of, 1, N_FEATURES - 1, binding)
        return binding

    def _score_of(self, *features: Any) -> float:
        return number(self.score(Block(*features)), "score()")


class QueuePolicy(Policy):
    """A policy of one queue a category: the queue whose head has the lowest value gives it up.

    A queue is in order of last use. Equal values: the deeper head first, then the longer unused.
    """

    keys_may_grow = True
    compiled: ClassVar[bool] = False

    @abstractmethod
    def value(self, category: int, age_s: float, a: float, b: float, c: float) -> float:
        """Worth of keeping a block of `category` last used `age_s` ago; a, b, c: see `params`."""

    def params(self, setting: Setting) -> NDArray[np.float64]:
        """(n_categories, 3): the numbers that `value` gets for each category."""
        return np.zeros((len(setting.category_names), 3))

    def bind(self, setting: Setting) -> Binding:
        from .order import QUEUED

        binding = Binding(mode=QUEUED, n_queues=len(setting.category_names))
        binding.params = np.ascontiguousarray(self.params(setting), np.float64)
        if self.compiled:
            binding.value = compiled_value(type(self))
        else:
            binding.value = python_function(self._value_of, 1, 4, binding)
        return binding

    def _value_of(self, category: int, age_s: float, a: float, b: float, c: float) -> float:
        return number(self.value(category, age_s, a, b, c), "value()")


class EvictionPolicy(Policy):
    """A policy with its own order, written in plain Python.

    One object may order several caches at once (one an instance): `on_...` and `victim` are
    then called on a copy of their own, made by `fresh`.
    """

    is_uniform = False

    def on_miss(self, block: Block) -> None:
        """A request lacks `block`, which has no `block_id` yet; told if it `hears_misses`."""

    def on_insert(self, block: Block) -> None:
        """`block` was cached."""

    def on_hit(self, block: Block) -> None:
        """A request reused `block`."""

    def on_evict(self, block: Block) -> None:
        """`block` left the cache, by this policy's choice."""

    @abstractmethod
    def add(self, block: Block) -> None:
        """`block` became a candidate."""

    @abstractmethod
    def remove(self, block: Block) -> None:
        """`block` is no candidate any more: used again, given a cached child, or evicted."""

    @abstractmethod
    def victim(self) -> int:
        """Name the candidate to evict, by its `block_id`. The cache calls `remove` itself."""

    def fresh(self, setting: Setting) -> EvictionPolicy:
        """Make the copy that orders one cache; the default copies the dataclass fields."""
        if dataclasses.is_dataclass(self):
            return dataclasses.replace(self)
        return type(self)()

    def bind(self, setting: Setting) -> Binding:
        from .order import HOOKED, N_EVENTS
        from .records import block_at

        binding = Binding(mode=HOOKED, hears_misses=self.hears_misses, hears_hits=True)
        copies = [self.fresh(setting) for _ in range(setting.n_caches)]
        handlers: list[tuple[Callable[[Block], None] | None, ...]] = [
            (p.add, p.remove, None, p.on_insert, p.on_hit, p.on_evict, p.on_miss) for p in copies
        ]

        def on_event(event: int, cache: int, block_id: int, where: int, n_blocks: float) -> float:
            handler = handlers[cache][event]
            if handler is None:
                return number(copies[cache].victim(), "victim()")
            handler(block_at(block_id, where, int(n_blocks)))
            return 0.0

        binding.states = list(range(setting.n_caches))
        functions = [partial(on_event, event) for event in range(N_EVENTS)]
        binding.events = np.array([python_function(each, 3, 1, binding) for each in functions])
        return binding


class CompiledPolicy(Policy):
    """A policy with its own order, compiled: one C function and one state array a cache.

    An event is about `block.n_blocks` blocks of an item, a run: inserted, hit or evicted together.
    An eviction may take the deepest blocks of a candidate only, which then stays one; the whole
    item went if it was removed before. The answer to a question for the victim is its number, or
    `order.up_to(n, number)` to be asked again after n of its blocks.
    """

    hears_hits: ClassVar[bool] = True
    """Whether it does something when a block is reused. If not, it is not told, and a cache-only
    replay brings the history of a block up to date when it becomes a candidate."""

    @abstractmethod
    def event_function(self) -> Callable[..., float]:
        """Return the function to compile: (event, state address, block) -> victim or 0."""

    @abstractmethod
    def new_state(self, setting: Setting, cache: int) -> NDArray[np.int64]:
        """State array of one cache, whose address the event function gets."""

    def bind(self, setting: Setting) -> Binding:
        from .order import HOOKED

        events = compiled_events(type(self), self.event_function())
        binding = Binding(
            mode=HOOKED, events=events, hears_misses=self.hears_misses, hears_hits=self.hears_hits
        )
        states = [self.new_state(setting, cache) for cache in range(setting.n_caches)]
        binding.states = [state.ctypes.data for state in states]
        binding.kept_alive += [states, setting.kept_alive]
        return binding
