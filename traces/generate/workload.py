"""What a synthetic workload is: kinds of sessions, shared prefixes, arrivals. Draws nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ... import ConfigError
from .arrivals import Arrivals
from .lengths import Constant, Distribution

_A_HUNDRED, _TWO_HUNDRED, _A_THOUSAND = Constant(100), Constant(200), Constant(1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Prefixes that sessions share: system prompts, tool schemas, templates, documents."""

    n: int
    """How many different ones there are."""
    tokens: Distribution
    """Length of each; whole blocks of it are shared."""
    zipf: float = 1.0
    """Popularity of the i-th most popular is proportional to i^-zipf."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise ConfigError(f"n must be at least 1, got {self.n}")
        if not 0 <= self.zipf < math.inf:
            raise ConfigError(f"zipf must be at least 0 and finite, got {self.zipf:g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    """First requests that begin as an earlier first request did: retries, the same document."""

    share: float
    """Of the first requests."""
    gap_s: Distribution
    """How long ago the one that is repeated came."""
    least_part: float = 1.0
    """Part of its prompt that is repeated, drawn uniformly from [least_part, 1]."""

    def __post_init__(self) -> None:
        for name in ("share", "least_part"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} must be in [0, 1], got {getattr(self, name):g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Sessions that are alike."""

    name: str
    """The request type, a category of the trace; several kinds may have one name."""
    weight: float = 1.0
    """Share of the sessions, relative to the other kinds."""
    pools: tuple[tuple[str, float], ...] = ()
    """Names of pools and the share of sessions that begin with a prefix out of each."""
    repeats: Repeats | None = None
    first_tokens: Distribution = _A_THOUSAND
    """Prompt of the first request, behind the shared prefix."""
    output_tokens: Distribution = _TWO_HUNDRED
    continues: tuple[float, ...] = ()
    """Probability of a further turn after turn 1, 2, ...; the last holds for all later ones."""
    added_tokens: Distribution = _A_HUNDRED
    """What a later turn adds behind the earlier prompt and answer: user text, tool results."""
    kept_output: float = 1.0
    """Share of an answer that stays in the context; reasoning is stripped."""
    gap_s: Distribution | None = None
    """From a request's arrival to the next turn's; None: from its finish, by `think_s`."""
    think_s: Distribution | None = None
    """From a request's finish to the next turn's arrival."""
    gap_scale: tuple[float, ...] = (1.0,)
    """What the gap or think time after turn 1, 2, ... is multiplied by; the last holds on."""
    gap_power: float = 0.0
    """The gap also grows as this power of the prompt's length, from 1 at 1000 tokens."""
    trend: float | None = None
    """Rate of these sessions at the end over that at the start; None: as the arrivals say."""
    cut_short: float = 0.0
    """Share of later turns that keep only a part of the earlier prompt, uniform in length."""
    forgotten: float = 0.0
    """Share of later turns that keep nothing of it."""
    limit_tokens: int | None = None
    """Longest prompt; None: no limit."""
    at_limit: str = "clip"
    """clip: what does not fit is left out; end: the session ends; compact: the context is
    replaced by a first prompt drawn anew, behind the shared prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """How long a request takes, for open-loop arrival times of later turns; seconds."""

    base_s: float = 0.3
    per_input_token_s: float = 5e-5
    per_output_token_s: float = 0.015

    def __post_init__(self) -> None:
        for name in ("base_s", "per_input_token_s", "per_output_token_s"):
            if not 0 <= getattr(self, name) < math.inf:
                told = f"{getattr(self, name):g}"
                raise ConfigError(f"{name} must be at least 0 and finite, got {told}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A synthetic workload."""

    name: str
    kinds: tuple[Kind, ...]
    arrivals: Arrivals
    """Starts of sessions."""
    pools: dict[str, Pool] = field(default_factory=dict)
    duration_s: float = 3600.0
    """Requests that would arrive later are left out."""
    block_size: int = 16
    n_sessions: int | None = None
    """Exactly so many sessions start; None: as many as the arrivals give."""
    clients: str | None = None
    """A pool whose prefixes are clients: each one's sessions arrive in a process of its own."""
    service: Service = Service()
    longest_tokens: int = 2**20
    """No prompt is longer."""
    stratified: bool = False
    """Whether lengths, waits, choices of a prefix and of a further turn are spread evenly over
    their distributions, and starts over the duration: seeds then differ by less than chance. For
    the likeness of one trace, whose published numbers are no draw."""

    def __post_init__(self) -> None:
        if not self.kinds:
            raise ConfigError(f"workload {self.name}: must have a kind of session, got none")
        if self.block_size < 1:
            raise ConfigError(f"block size must be at least 1 token, got {self.block_size}")
        if not 0 < self.duration_s < math.inf:
            told = f"{self.duration_s:g} s"
            raise ConfigError(f"duration must be positive and finite, got {told}")
        if self.longest_tokens < 1:
            raise ConfigError(f"longest_tokens must be at least 1, got {self.longest_tokens}")
        if self.n_sessions is not None and self.n_sessions < 1:
            raise ConfigError(f"n_sessions must be at least 1, got {self.n_sessions}")
        if self.clients is not None and self.clients not in self.pools:
            known = ", ".join(self.pools) or "none"
            raise ConfigError(f"clients must be one of the pools ({known}), got {self.clients!r}")
        for kind in self.kinds:
            self._check(kind)

    def _check(self, kind: Kind) -> None:
        where = f"workload {self.name}, kind {kind.name}"
        for pool, _ in kind.pools:
            if pool not in self.pools:
                known = ", ".join(self.pools) or "none"
                raise ConfigError(f"{where}: pool must be one of {known}, got {pool!r}")
        shares = [share for _, share in kind.pools]
        if min(shares, default=0) < 0 or sum(shares) > 1 + 1e-9:
            raise ConfigError(f"{where}: shares of pools must sum to at most 1, got {shares}")
        if any(not 0 <= p < 1 for p in kind.continues):
            raise ConfigError(f"{where}: continues must be in [0, 1), got {kind.continues}")
        if kind.continues and kind.gap_s is None and kind.think_s is None:
            raise ConfigError(f"{where}: later turns need gap_s or think_s, got neither")
        for name in ("kept_output", "cut_short", "forgotten"):
            if not 0 <= getattr(kind, name) <= 1:
                told = f"{getattr(kind, name):g}"
                raise ConfigError(f"{where}: {name} must be in [0, 1], got {told}")
        if not 0 < kind.weight < math.inf:
            raise ConfigError(f"{where}: weight must be positive and finite, got {kind.weight:g}")
        if not kind.gap_scale or min(kind.gap_scale) <= 0:
            raise ConfigError(f"{where}: gap_scale must be positive, got {kind.gap_scale}")
        if kind.trend is not None and not 0 < kind.trend < math.inf:
            raise ConfigError(f"{where}: trend must be positive and finite, got {kind.trend:g}")
        if kind.limit_tokens is not None and kind.limit_tokens < 1:
            raise ConfigError(f"{where}: limit_tokens must be at least 1, got {kind.limit_tokens}")
        if kind.at_limit not in ("clip", "end", "compact"):
            raise ConfigError(
                f"{where}: at_limit must be clip, end or compact, got {kind.at_limit!r}"
            )
