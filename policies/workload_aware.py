"""Evict the block least likely to be reused soon, by its category's reuse times."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from .base import Binding, QueuePolicy, Setting

STAMPS = ("access", "finish", "hit")


@dataclass(frozen=True, kw_only=True)
class WorkloadAware(QueuePolicy):
    """Evict the block least likely to be reused soon, by its category's reuse times.

    "KVCache Cache in the Wild" (Wang et al., USENIX ATC 2025), section 4.2 and the authors'
    vLLM patch: a category is a request type and turn; the value of a block is the mass of its
    category's exponential reuse time in [t, t + life), t being its age:

        value = p * exp(-rate * t) * (1 - exp(-rate * life))

    Rate and p come from the arrivals so far (`kvsim.policies.reuse_fit`), refitted every
    `refit_s`, or from a file. Until the first refit all categories are alike, which is
    lru but for equal times.

    `censored` fits rate and p to the accesses not reused yet as well, so that the reuses that
    take long are not simply missing.

    Deviations: only blocks without a cached child leave, unless `leaf_only` is false (the paper
    relies on the order of equal values for that, which does not protect a block of a category worth
    less than that of its children); `retag` lets a reused block take the category of its last user,
    as the authors' profiler does and their engine does not.
    """

    life_s: float = 5.0
    """Expected lifespan of a block, seconds; the patch has 5."""
    refit_s: float = 20.0
    """Seconds between refits."""
    window_s: float = 840.0
    """Seconds of history a refit looks back on; inf for all of it."""
    min_gap_s: float = 0.3
    """Reuses after shorter gaps are not counted, seconds."""
    retag: bool = False
    """Whether a reused block takes the category of its last user."""
    shifted: bool = False
    """Whether the fit subtracts the shortest gap (scipy's exponential with free location)."""
    censored: bool = False
    """Whether accesses without a reuse yet count in the fit."""
    stamp: str = "access"
    """What a block's age counts from: the last `access`, the `finish` of its last user, or the last
    `hit` in its memory, whatever was cached there then (the authors' patch writes the time at hits
    only, and does not reset it)."""
    lives: str = ""
    """Lifespans by category where they differ from `life_s`: CATEGORY:SECONDS+CATEGORY:SECONDS."""
    leaf_only: bool = True
    """Whether only blocks without a cached child leave. If not, any idle block may, as in the
    authors' engine, and what is cached below it is out of reach until it is cached again. A tier
    below the GPU lets any block go in either case."""
    file: str = ""
    """JSON file of fixed parameters, {"a": {category: rate}, "p": {category: probability}}."""

    compiled = True

    @staticmethod
    def value(category: int, age_s: float, a: float, b: float, c: float) -> float:
        """Mass of the reuse time in [age, age + life): a = rate, b = probability, c = the share
        of reuses within a lifespan, 1 - exp(-rate * life)."""
        return b * math.exp(-a * age_s) * c

    @property
    def takes_any(self) -> bool:
        return not self.leaf_only

    def params(self, setting: Setting) -> NDArray[np.float64]:
        n_categories = len(setting.category_names)
        if self.file:
            rate, probability = self._read_file(setting.category_names)
        else:
            rate = np.full(n_categories, 1e-3)  # any common value orders all queues as one
            probability = np.ones(n_categories)
        life_s = self._life_s(setting.category_names)
        return np.column_stack((rate, probability, 1.0 - np.exp(-rate * life_s)))

    def bind(self, setting: Setting) -> Binding:
        arguments = self.fit_arguments(setting.category_names)
        if self.stamp not in STAMPS:
            allowed = ", ".join(STAMPS)
            raise ConfigError(f"workload-aware: stamp must be one of {allowed}, got {self.stamp!r}")
        binding = super().bind(setting)
        binding.is_retagged = self.retag
        binding.is_stamped_on_release = self.stamp == "finish"
        binding.is_stamped_on_hit = self.stamp == "hit"
        if not self.file:
            binding.fit_arguments = arguments
        return binding

    def fit_arguments(self, names: tuple[str, ...]) -> dict[str, Any]:
        """What `kvsim.policies.reuse_fit.make_reuse_fit` needs, checked.

        Raises:
            ConfigError: a time is not positive, a category unknown, or the fits contradict.
        """
        if self.shifted and self.censored:
            raise ConfigError("workload-aware: shifted and censored are two different fits")
        for name in ("life_s", "refit_s", "window_s"):
            if not getattr(self, name) > 0:
                raise ConfigError(
                    f"workload-aware: {name} must be positive, got {getattr(self, name)}"
                )
        return {
            "refit_s": self.refit_s,
            "window_s": self.window_s,
            "min_gap_s": self.min_gap_s,
            "life_s": self._life_s(names),
            "is_shifted": self.shifted,
            "is_censored": self.censored,
        }

    def _life_s(self, names: tuple[str, ...]) -> NDArray[np.float64]:
        life_s = np.full(len(names), self.life_s)
        for part in filter(None, self.lives.split("+")):
            name, _, text = part.rpartition(":")
            try:
                life_s[names.index(name)] = float(text)
            except ValueError:
                raise ConfigError(
                    f"workload-aware: lives must be CATEGORY:SECONDS+..., got {part!r}"
                    f" (categories: {', '.join(names)})"
                ) from None
        if not (life_s > 0).all():
            raise ConfigError(f"workload-aware: lives must be positive, got {self.lives!r}")
        return life_s

    def _read_file(self, names: tuple[str, ...]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Read the authors' parameter file; a category missing from it gets rate 0 and p 1."""
        import json

        try:
            table = json.loads(Path(self.file).read_text())
            rates, probabilities = dict(table["a"]), dict(table["p"])
            rate = np.array([float(rates.get(name, 0.0)) for name in names])
            probability = np.array([float(probabilities.get(name, 1.0)) for name in names])
        except OSError as error:
            raise ConfigError(f"{self.file}: cannot be read: {error.strerror}") from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError(
                f'{self.file}: must be {{"a": {{category: rate}}, "p": {{category: probability}}}},'
                f" got {type(error).__name__}: {error}"
            ) from None
        return rate, probability
