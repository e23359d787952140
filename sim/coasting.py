"""Steps that must repeat the last one, run without scheduling them anew, compiled."""

from __future__ import annotations

import numpy as np

from ..calibration.latency import step_seconds
from ..kernels import inner
from .records import MARK_ALLOWANCE
from .request_blocks import block_count, grow
from .state import State, instances, latency, marks, pools, requests, running, sample_every_s, sizes

LONGEST_COAST = 1 << 20
"""Steps after which a coast pauses, so that a run can be interrupted."""


@inner
def coast(c: State, i: int, until_s: float) -> None:
    """Run the steps that must be like a quiet one, as long as they end by `until_s`.

    A step is quiet if all running requests decoded, and nobody was admitted, preempted or
    finished. Until a request fills its block or finishes, the next step differs in its context
    tokens alone: whoever could not be admitted still cannot. If nobody waits, requests are also
    given their next blocks here, in order of admission, while there are enough. The clock is
    added up step by step, so the outcome is that of `schedule` and `commit` to the last bit.
    """
    instance = instances(c)[i]
    n = instance.n_running
    if instance.n_waiting > 0 and not instance.had_waiting:
        return
    next_sample_s = (instance.last_sample + 1) * sample_every_s(c)[0]
    while True:
        context = 0
        to_block = LONGEST_COAST
        to_finish = LONGEST_COAST
        for at in range(n):
            request = requests(c)[running(c)[i, at]]
            computed = request.computed
            context += computed
            to_block = min(to_block, request.n_held * sizes(c).block_size - computed)
            if sizes(c).prefix_caching:
                full = (request.n_published + 1) * sizes(c).block_size
                to_block = min(to_block, full - 1 - computed)
            sampled = request.known - request.input_tokens
            to_finish = min(to_finish, request.output_tokens - sampled - 1)
        most = min(to_block, to_finish)
        steps = 0
        total = 0
        now_s = instance.now_s
        dt_s = 0.0
        is_over = False
        while True:
            dt_s = step_seconds(
                sizes(c).latency_kind,
                latency(c),
                0.0,
                0.0,
                float(n),
                float(context + n),
                float(context + n),
                0.0,
            )
            is_over = now_s + dt_s > until_s or now_s >= until_s or now_s >= next_sample_s
            if is_over or steps == most:
                break
            context += n
            now_s = now_s + dt_s
            instance.busy_s += dt_s
            total += context
            steps += 1
        marks(c)[MARK_ALLOWANCE] -= steps >> 4
        can_grow = instance.n_waiting == 0 and to_block < to_finish and most < LONGEST_COAST
        # what a step fills goes to a tier at its end; events may overflow here, not in steps
        if sizes(c).has_tiers or sizes(c).n_events:
            can_grow = False
        grows = not is_over and can_grow and marks(c)[MARK_ALLOWANCE] > 0
        if grows:
            n_new = 0
            for at in range(n):
                request = requests(c)[running(c)[i, at]]
                upto = request.computed + steps + 1
                n_new += block_count(upto, sizes(c).block_size) - request.n_held
            grows = n_new <= pools(c)[i].n_free
        for at in range(n):
            r = np.int64(running(c)[i, at])
            request = requests(c)[r]
            request.computed += steps
            request.known += steps
            if grows:
                upto = request.computed + 1
                if (
                    block_count(upto, sizes(c).block_size) > request.n_held
                    or upto // sizes(c).block_size > request.n_published
                ):
                    grow(c, i, r, upto, now_s)
                request.computed = upto
                request.known += 1
        if grows:
            context += n
            now_s = now_s + dt_s
            instance.busy_s += dt_s
            total += context
            steps += 1
        instance.now_s = now_s
        instance.steps += steps
        instance.decode_tokens += steps * n
        instance.output_tokens += steps * n
        instance.context_tokens += total
        if grows:
            continue
        if steps < most and now_s < until_s and now_s < next_sample_s:
            # the step that goes on beyond `until_s`: its entries are those of the last one
            instance.now_s = now_s + dt_s
            instance.busy_s += dt_s
            instance.steps += 1
            instance.decode_tokens += n
            instance.context_tokens += context + n
            instance.is_stepping = 1
        return
