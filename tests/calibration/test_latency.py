"""Step times: bit-equal to plain Python, strict about input, summed step by step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsim import ConfigError
from kvsim.calibration.latency import (
    KIND_CODES,
    LatencyKind,
    LatencyModel,
    StepFeatures,
    step_seconds,
)

AFFINE = LatencyModel.affine(0.007, 2.1e-5, 9e-5, 5e-8)
ROOFLINE = LatencyModel(
    LatencyKind.ROOFLINE, np.array([0.004, 0.0037, 2.1e-5, 0.002, 9e-5, 4.5e-8, 1.7e-7, 8.3e-10])
)
coefficients = st.floats(0, 1, allow_subnormal=False)
tokens = st.integers(0, 2**40)


@settings(deadline=None)  # the first call may compile
@given(
    k=st.tuples(coefficients, coefficients, coefficients, coefficients), n=st.tuples(*[tokens] * 3)
)
def test_affine_equals_plain_python_to_the_last_bit(
    k: tuple[float, float, float, float], n: tuple[int, int, int]
) -> None:
    a, b, c, d = k
    prefill, decode, context = n
    expected = ((a + b * prefill) + c * decode) + d * context
    features = StepFeatures(prefill_tokens=prefill, decode_seqs=decode, context_tokens=context)
    assert LatencyModel.affine(a, b, c, d).seconds(features) == expected


def test_no_multiply_and_add_is_fused_in_many_random_steps() -> None:
    rng = np.random.default_rng(0)
    features = rng.integers(0, 10**6, size=(20_000, 6)).astype(np.float64)
    k = rng.random(4)
    model = LatencyModel.affine(*k)
    a, b, c, d = (float(x) for x in k)
    expected = [((a + b * f[0]) + c * f[2]) + d * f[3] for f in features.tolist()]
    assert model.each_seconds(features).tolist() == expected


@settings(deadline=None)  # the first call may compile
@given(n=st.tuples(*[st.integers(0, 10**6)] * 5), pairs=st.floats(0, 1e12))
def test_the_compiled_roofline_equals_its_python_source(
    n: tuple[int, int, int, int, int], pairs: float
) -> None:
    arguments = (KIND_CODES[ROOFLINE.kind], ROOFLINE.coefficients, *n, pairs)
    compiled = ROOFLINE.each_seconds(np.array([[*n, pairs]]))
    assert compiled.tolist() == [step_seconds.py_func(*arguments)]


@pytest.mark.parametrize("model", [AFFINE, ROOFLINE], ids=["affine", "roofline"])
@settings(deadline=None)  # the first call may compile
@given(
    few=st.tuples(*[st.integers(0, 10**5)] * 4),
    more=st.tuples(*[st.integers(0, 10**5)] * 4),
)
def test_more_work_never_takes_less_time(
    model: LatencyModel, few: tuple[int, ...], more: tuple[int, ...]
) -> None:
    def features(prefill: int, seqs: int, decode: int, context: int) -> StepFeatures:
        return StepFeatures(
            prefill_tokens=prefill,
            prefill_seqs=seqs,
            decode_seqs=decode,
            context_tokens=2 * context,
            decode_context_tokens=context,
            prefill_pairs=float(context),
        )

    both = (x + y for x, y in zip(few, more, strict=True))
    assert model.seconds(features(*few)) <= model.seconds(features(*both))


def test_few_tokens_are_bound_by_the_weights_and_many_by_arithmetic() -> None:
    k = np.zeros(8)
    k[1], k[2] = 0.004, 2e-5
    model = LatencyModel(LatencyKind.ROOFLINE, k)
    assert model.seconds(StepFeatures(prefill_tokens=1)) == 0.004
    assert model.seconds(StepFeatures(prefill_tokens=199)) == 0.004
    assert model.seconds(StepFeatures(prefill_tokens=1000)) == pytest.approx(0.02)


def test_a_request_alone_takes_its_prefill_chunks_and_then_its_decodes() -> None:
    expected = AFFINE.seconds(StepFeatures(prefill_tokens=100, prefill_seqs=1, context_tokens=150))
    expected += AFFINE.seconds(StepFeatures(prefill_tokens=30, prefill_seqs=1, context_tokens=180))
    for context in (181, 182):
        expected += AFFINE.seconds(
            StepFeatures(decode_seqs=1, context_tokens=context, decode_context_tokens=context)
        )
    alone_s = AFFINE.unloaded_s(180, 3, cached_tokens=50, max_num_batched_tokens=100)
    assert alone_s == expected


def test_chunked_prefill_computes_every_pair_once() -> None:
    k = np.zeros(8)
    k[7] = 1.0
    pairs_only = LatencyModel(LatencyKind.ROOFLINE, k)
    n = 1000
    for budget in (1, 7, 333, 1000, 5000):
        assert pairs_only.unloaded_s(n, 5, max_num_batched_tokens=budget) == n * (n + 1) / 2


def test_one_output_token_needs_no_decode_step() -> None:
    one_step_s = AFFINE.seconds(StepFeatures(prefill_tokens=8, prefill_seqs=1, context_tokens=8))
    assert AFFINE.unloaded_s(8, 1) == one_step_s


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1), "input_tokens must be at least 1, got 0"),
        ((1, 0), "output_tokens must be at least 1, got 0"),
    ],
)
def test_a_request_without_tokens_is_refused(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        AFFINE.unloaded_s(*arguments)


def test_a_wholly_cached_request_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cached_tokens must be below input_tokens \(8\), got 8"):
        AFFINE.unloaded_s(8, 1, cached_tokens=8)


def test_parse_reads_four_numbers() -> None:
    assert LatencyModel.parse("0.01, 2e-5,0.0001,5e-8") == LatencyModel.affine(
        0.01, 2e-5, 0.0001, 5e-8
    )


@pytest.mark.parametrize(
    "text", ["", "1,2,3", "1,2,3,4,5", "1,2,x,4", "1,2,-3,4", "1,nan,3,4", "inf,1,1,1"]
)
def test_parse_refuses_anything_else_in_one_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"latency-affine must be four numbers") as caught:
        LatencyModel.parse(text)
    assert "\n" not in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize("k", [[], [1.0], [1.0] * 9, [1.0] * 4])
def test_a_roofline_needs_its_eight_coefficients(k: list[float]) -> None:
    with pytest.raises(ConfigError, match="takes 8 coefficients"):
        LatencyModel(LatencyKind.ROOFLINE, np.array(k))


def test_a_negative_coefficient_is_named() -> None:
    with pytest.raises(ConfigError, match=r"latency.decode_seq_s must be finite and at least 0"):
        LatencyModel.affine(1, 1, -1, 1)


def test_equal_models_hash_alike() -> None:
    same = LatencyModel.affine(0.007, 2.1e-5, 9e-5, 5e-8)
    assert same == AFFINE
    assert hash(same) == hash(AFFINE)
    assert AFFINE != ROOFLINE
