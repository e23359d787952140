"""How long one scheduler step takes, from what the step contains. Knows no clock and no request."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..kernels import inner, kernel

AFFINE_NAMES = ("fixed_s", "prefill_token_s", "decode_seq_s", "context_token_s")
ROOFLINE_NAMES = (
    "fixed_s",
    "weights_s",
    "token_s",
    "prefill_seq_s",
    "decode_seq_s",
    "decode_context_token_s",
    "prefill_context_token_s",
    "prefill_pair_s",
)
N_COEFFICIENTS = len(ROOFLINE_NAMES)


class LatencyKind(StrEnum):
    """The form of the step-time formula."""

    AFFINE = "affine"
    ROOFLINE = "roofline"


COEFFICIENT_NAMES: dict[LatencyKind, tuple[str, ...]] = {
    LatencyKind.AFFINE: AFFINE_NAMES,
    LatencyKind.ROOFLINE: ROOFLINE_NAMES,
}
KIND_CODES: dict[LatencyKind, int] = {LatencyKind.AFFINE: 0, LatencyKind.ROOFLINE: 1}
"""What compiled code calls each kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFeatures:
    """What one step computes: an entry runs n tokens of a request after C computed ones."""

    prefill_tokens: int = 0
    """Tokens of the prefill entries."""
    prefill_seqs: int = 0
    """Prefill entries."""
    decode_seqs: int = 0
    """Decode entries, one token each."""
    context_tokens: int = 0
    """Sum of C + n over all entries."""
    decode_context_tokens: int = 0
    """Sum of C + n over the decode entries."""
    prefill_pairs: float = 0.0
    """Query-key pairs of the prefill entries: sum of n * (C + (n + 1) / 2)."""


@inner
def step_seconds(
    kind: int,
    k: NDArray[np.float64],
    prefill_tokens: float,
    prefill_seqs: float,
    decode_seqs: float,
    context_tokens: float,
    decode_context_tokens: float,
    prefill_pairs: float,
) -> float:
    """Return the seconds of one step; `k` is `LatencyModel.coefficients`, all shapes (8,).

    affine (kind 0): `((k0 + k1*prefill) + k2*decode) + k3*context`, in this order and without
    fused multiply-add, so that a clock summed from it equals a plain Python one to the last bit.

    roofline (kind 1): `fixed + max(weights, token * tokens)`, the dense layers being bound either
    by reading the weights or by arithmetic; plus, for what the tokens attend to, a cost per
    sequence, per context token read (KV bandwidth) and per prefill query-key pair (arithmetic).
    Deviation from a kernel-level roofline: attention's two bounds are added, not maximised,
    because a step mixes sequences of both sorts.
    """
    seconds: float
    if kind == 0:
        seconds = ((k[0] + k[1] * prefill_tokens) + k[2] * decode_seqs) + k[3] * context_tokens
        return seconds
    dense_s = max(k[1], k[2] * (prefill_tokens + decode_seqs))
    seqs_s = k[3] * prefill_seqs + k[4] * decode_seqs
    prefill_context_tokens = context_tokens - decode_context_tokens
    kv_s = k[5] * decode_context_tokens + k[6] * prefill_context_tokens
    seconds = (((k[0] + dense_s) + seqs_s) + kv_s) + k[7] * prefill_pairs
    return seconds


@kernel
def _each_step_s(
    kind: int,
    k: NDArray[np.float64],
    features: NDArray[np.float64],
    seconds: NDArray[np.float64],
) -> None:
    for i in range(len(features)):
        f = features[i]
        seconds[i] = step_seconds(kind, k, f[0], f[1], f[2], f[3], f[4], f[5])


@kernel
def _alone_s(
    kind: int, k: NDArray[np.float64], cached: int, n_input: int, n_output: int, budget: int
) -> float:
    total_s = 0.0
    computed = cached
    while computed < n_input:
        n = min(budget, n_input - computed)
        pairs = n * (computed + (n + 1) / 2)
        total_s += step_seconds(kind, k, n, 1, 0, computed + n, 0, pairs)
        computed += n
    for context in range(n_input + 1, n_input + n_output):
        total_s += step_seconds(kind, k, 0, 0, 1, context, context, 0.0)
    return total_s


@dataclass(frozen=True, slots=True, eq=False)
class LatencyModel:
    """The time of a step: a form, and its coefficients in seconds.

    >>> LatencyModel.parse("0.01,0.00002,0.0001,0.00000005").seconds(
    ...     StepFeatures(prefill_tokens=1000, prefill_seqs=1, context_tokens=1000)
    ... )
    0.03005
    """

    kind: LatencyKind
    coefficients: NDArray[np.float64]
    """(8,): in the order of `COEFFICIENT_NAMES[kind]`, then zeros. Not to be written to."""

    def __post_init__(self) -> None:
        names = COEFFICIENT_NAMES[self.kind]
        given = np.array(self.coefficients, dtype=np.float64).ravel()
        if not len(names) <= len(given) <= N_COEFFICIENTS or given[len(names) :].any():
            raise ConfigError(
                f"a latency model of kind {self.kind} takes {len(names)} coefficients "
                f"({', '.join(names)}), got {len(given)}"
            )
        for name, value in zip(names, given, strict=False):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"latency.{name} must be finite and at least 0, got {value}")
        padded = np.zeros(N_COEFFICIENTS)
        padded[: len(names)] = given[: len(names)]
        object.__setattr__(self, "coefficients", padded)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LatencyModel):
            return NotImplemented
        return self.kind is other.kind and np.array_equal(self.coefficients, other.coefficients)

    def __hash__(self) -> int:
        return hash((self.kind, self.coefficients.tobytes()))

    @classmethod
    def affine(cls, a: float, b: float, c: float, d: float) -> LatencyModel:
        """Build `a + b*prefill + c*decode_seqs + d*context`, in seconds."""
        return cls(LatencyKind.AFFINE, np.array([a, b, c, d]))

    @classmethod
    def parse(cls, text: str) -> LatencyModel:
        """Read "a,b,c,d", the four affine coefficients in seconds.

        Raises:
            ConfigError: not four numbers, or one that is negative or not finite.
        """
        allowed = "must be four numbers a,b,c,d of seconds, each finite and at least 0"
        try:
            a, b, c, d = (float(part) for part in text.split(","))
        except ValueError:
            raise ConfigError(f"latency-affine {allowed}, got {text!r}") from None
        if not all(math.isfinite(value) and value >= 0 for value in (a, b, c, d)):
            raise ConfigError(f"latency-affine {allowed}, got {text!r}")
        return cls.affine(a, b, c, d)

    @property
    def kind_code(self) -> int:
        """The kind as `step_seconds` takes it."""
        return KIND_CODES[self.kind]

    def seconds(self, features: StepFeatures) -> float:
        """Return the seconds of one step."""
        return float(self.each_seconds(np.array([dataclasses.astuple(features)]))[0])

    def each_seconds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the seconds of many steps; (n, 6), columns in the order of `StepFeatures`."""
        seconds = np.empty(len(features))
        rows = np.ascontiguousarray(features, np.float64)
        _each_step_s(self.kind_code, self.coefficients, rows, seconds)
        return seconds

    def block_s(self, depth: NDArray[np.integer], block_size: int) -> NDArray[np.float64]:
        """Return what computing a prompt block `depth` blocks below its root adds to a full step.

        In a step that arithmetic bounds: the block's tokens, and their attention to all before
        them. What a step costs whatever it computes, and what it reads of the context, which is
        the same if the block was cached, are not in it.

        >>> LatencyModel.parse("0.01,0.00002,0.0001,0.00000005").block_s(np.arange(2), 16)
        array([0.00032, 0.00032])
        """
        token_s, pair_s = self.coefficients[1], 0.0
        if self.kind is LatencyKind.ROOFLINE:
            token_s, pair_s = self.coefficients[2], self.coefficients[7]
        pairs = np.asarray(depth, np.float64) * block_size + (block_size + 1) / 2
        return np.asarray(block_size * (token_s + pair_s * pairs))

    def unloaded_s(
        self,
        input_tokens: int,
        output_tokens: int,
        *,
        cached_tokens: int = 0,
        max_num_batched_tokens: int = 8192,
    ) -> float:
        """Return the seconds from start to last token of a request alone on an idle instance.

        Prefill in chunks of `max_num_batched_tokens` after `cached_tokens`, the last of which gives
        the first output token; then one decode step per further token, summed in this order.

        Raises:
            ConfigError: a length below 1, or nothing left to compute.
        """
        bounds = (
            ("input_tokens", input_tokens, 1),
            ("output_tokens", output_tokens, 1),
            ("cached_tokens", cached_tokens, 0),
            ("max_num_batched_tokens", max_num_batched_tokens, 1),
        )
        for name, value, least in bounds:
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, got {value}")
        if cached_tokens >= input_tokens:
            raise ConfigError(
                f"cached_tokens must be below input_tokens ({input_tokens}), got {cached_tokens}"
            )
        return float(
            _alone_s(
                self.kind_code,
                self.coefficients,
                cached_tokens,
                input_tokens,
                output_tokens,
                max_num_batched_tokens,
            )
        )
