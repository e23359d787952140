"""One replay from configuration to result: the library behind `kvsim replay` and `compare`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..calibration.capacity import blocks_from_gib, kv_blocks
from ..calibration.gpu_profile import Profile, load_profile
from ..calibration.latency import LatencyModel
from ..calibration.models import ModelSpec, model
from ..policies import make_policy
from ..sim import metrics
from ..sim.config import RunConfig
from ..sim.decision_log import DecisionLog
from ..sim.engine import Progress, World
from ..sim.event_log import EventLog
from ..sim.invariants import check_cluster
from ..sim.records import FINISHED
from ..sim.results import RunResult, manifest, request_table, summarise, time_table, turns
from ..sim.router import router_code
from ..sim.setup import Prepared, prepare
from ..sim.tier_setup import TIER_NAMES, TierChoice, TierChoices
from ..traces.compiled import CompiledTrace
from ..traces.prefix_tree import PrefixTree
from .curves import hit_ratio, lru_curve
from .forensics import explain_misses
from .limits import limits
from .mrc import curve_points
from .optimum import optimum_curve
from .regret import Tokens, bound_tokens, regret_by_tier, regret_tables

MAX_CURVE_POINTS = 32


def served(config: RunConfig) -> tuple[Profile, ModelSpec, LatencyModel]:
    """Return what the configuration names: a profile, the model served and its step times.

    Raises:
        ConfigError: an unknown profile or model, or wrong coefficients.
    """
    profile = load_profile(config.profile)
    spec = model(config.model) if config.model else profile.model_spec
    latency = (
        LatencyModel.parse(config.latency_affine) if config.latency_affine else profile.latency
    )
    return profile, spec, latency


def resolve(config: RunConfig) -> tuple[RunConfig, Profile, LatencyModel]:
    """Fill in what the configuration leaves to the profile: blocks and step times.

    Raises:
        ConfigError: an unknown profile or model, or no room for KV blocks.
    """
    profile, spec, latency = served(config)
    engine = config.engine
    if engine.gpu_blocks and config.gpu_gib:
        raise ConfigError("give --gpu-blocks or --gpu-gib, not both")
    if config.gpu_gib:
        n_blocks = blocks_from_gib(config.gpu_gib, spec, block_size=engine.block_size)
    elif engine.gpu_blocks:
        n_blocks = engine.gpu_blocks
    elif config.model:
        n_blocks = kv_blocks(
            spec,
            profile.gpu_memory_gib,
            reserve_gib=profile.reserve_gib,
            block_size=engine.block_size,
            utilisation=profile.utilisation,
        )
    else:
        n_blocks = profile.kv_blocks(block_size=engine.block_size)
    return replace(config, engine=replace(engine, gpu_blocks=n_blocks)), profile, latency


def run_replay(
    compiled: CompiledTrace,
    config: RunConfig,
    *,
    with_curve: bool = False,
    check: bool = False,
    is_logged: bool = False,
    log_path: Path | None = None,
    why: bool = False,
    with_limits: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Replay a compiled trace; the same inputs give the same result, to the last bit.

    With `why` the summary also says why look-ups missed, which costs time and memory; with
    `with_limits` what no policy could undercut on the same admissions, which may take seconds.

    Raises:
        ConfigError: a name or value in the configuration is wrong.
        PolicyError: the policy cannot be loaded, or failed.
    """
    config, profile, latency = resolve(config)
    router = router_code(config.cluster.router)
    policy = make_policy(config.policy)
    tiers = _tiers(config, profile, compiled)
    room = config.engine
    if policy.is_unbounded:
        n_most = blocks_for_all(compiled, room.block_size)
        room = replace(room, gpu_blocks=max(room.gpu_blocks, n_most))
    prepared = prepare(
        compiled.trace,
        compiled.tree,
        policy,
        engine=room,
        n_instances=config.cluster.instances,
        latency=latency,
        seed=config.seed,
        is_logged=is_logged,
        tiers=tiers,
        has_events=why,
    )
    events = EventLog() if why else None
    log = DecisionLog(log_path, config.cluster.instances) if is_logged else None
    is_done = False
    try:
        world = World(
            prepared,
            router=router,
            policy_name=config.policy,
            tier_policy_names={name: getattr(config, name).policy for name in TIER_NAMES},
            closed_loop=config.closed_loop,
            log=log,
            events=events,
            progress=progress,
        )
        world.run()
        is_done = True
    finally:
        if log is not None:
            log.close(keep=is_done)
    if check:
        check_cluster(prepared)
    summary = summarise(
        compiled.trace,
        prepared.cluster,
        category=prepared.category,
        category_names=prepared.category_names,
    )
    requests = prepared.cluster.requests
    engine = config.engine
    n_below = {
        name: tiers.tiers[name].config.blocks if tiers and name in tiers.tiers else 0
        for name in TIER_NAMES
    }
    bounds, hits = _bounds_by_tier(prepared, tiers)
    bound = list(bounds.values())[-1]
    lookups, bound_sum = summary["lookup_tokens"], int(bound.sum())
    head = {
        "policy": config.policy,
        "router": config.cluster.router,
        "instances": config.cluster.instances,
        "block_size": config.engine.block_size,
        "gpu_blocks": config.engine.gpu_blocks,
        "usable_blocks": prepared.engine.gpu_blocks - 1,
        **{f"{name}_blocks": n for name, n in n_below.items()},
    }
    summary = {"trace": summary.pop("trace"), **head, **summary}
    summary["bound_hit_ratio_tokens"] = bound_sum / lookups if lookups else None
    summary["regret_tokens"] = (bound_sum - summary["hit_tokens"]) / lookups if lookups else None
    turn, turn_names = turns(compiled.trace, prepared.category, prepared.category_names)
    groups: dict[str, tuple[NDArray[Any], list[str]]] = {
        "category": (compiled.trace.category, list(compiled.trace.category_names)),
        "turn": (turn, turn_names),
    }
    tables = regret_tables(requests, bound, groups=groups, block_size=engine.block_size)
    tables["tier"] = regret_by_tier(requests, bounds, hits)
    summary |= {f"regret_by_{split}": rows for split, rows in tables.items()}
    if with_limits:
        summary["limits"] = limits(
            prepared.tree,
            requests,
            prepared.engine,
            config.cluster.instances,
            bounds=bounds,
            hits=hits,
            keeps={n: not t.config.is_exclusive for n, t in tiers.tiers.items()} if tiers else {},
            stored={name: own["stored"] + own["kept"] for name, own in summary["tiers"].items()},
            latency=latency,
            n_lower_blocks=tiers.n_blocks(config.cluster.instances) if tiers else 0,
            is_shared=tiers.are_shared if tiers else False,
        )
    summary["goodput_per_s"] = _goodput_per_s(requests, summary["duration_s"], config)
    why_columns: dict[str, NDArray[Any]] = {}
    if events is not None:
        why_entries, why_columns = explain_misses(
            prepared.tree,
            requests,
            events.all(),
            n_instances=config.cluster.instances,
            block_size=engine.block_size,
            latency=latency,
        )
        summary |= why_entries
    if log is not None:
        decisions, timed = log.digests()
        one = len(decisions) == 1
        summary["decisions_sha256"] = decisions[0] if one else decisions
        summary["timed_sha256"] = timed[0] if one else timed
    about_profile = {
        "name": config.profile,
        "digest": profile.digest,
        "latency": latency_text(latency),
    }
    return RunResult(
        manifest=manifest(
            config, trace=compiled.trace, digest=compiled.digest, profile=about_profile
        ),
        summary=summary,
        requests=request_table(compiled.trace, prepared.cluster.requests) | why_columns,
        timeseries=time_table(prepared.cluster),
        curve=capacity_curve(compiled.tree, config) if with_curve else None,
    )


def _bounds_by_tier(
    prepared: Prepared, tiers: TierChoices | None
) -> tuple[dict[str, Tokens], dict[str, Tokens]]:
    """Return what the optimum hits in each tier and those above, and the run in each alone."""
    requests = prepared.cluster.requests
    n_instances = len(prepared.cluster.instances)
    below = [f"{name}_tokens" for name in TIER_NAMES]
    in_gpu = requests["cached_tokens"] - sum(requests[name] for name in below)
    engine = prepared.engine
    bounds = {"gpu": bound_tokens(prepared.tree, requests, engine, n_instances)}
    hits = {"gpu": in_gpu}
    if tiers is None:
        return bounds, hits
    upto: dict[str, TierChoice] = {}
    for name, choice in tiers.tiers.items():
        upto[name] = choice
        so_far = replace(tiers, tiers=dict(upto))
        bounds[name] = bound_tokens(
            prepared.tree,
            requests,
            engine,
            n_instances,
            n_lower_blocks=so_far.n_blocks(n_instances),
            is_shared=so_far.are_shared,
        )
        hits[name] = requests[f"{name}_tokens"]
    return bounds, hits


def blocks_for_all(compiled: CompiledTrace, block_size: int) -> int:
    """Return how many blocks of one instance are enough that it never evicts one.

    All distinct blocks of prompts and outputs; a request more has a last block that is not full,
    and another of its own in place of a full one if its whole prompt is cached; whoever arrives
    while a long prompt is computed in parts computes the rest of it anew. One is the null block.
    """
    tree, trace = compiled.tree, compiled.trace
    n_full = (trace.total_tokens - 1) // block_size
    n_outputs = int((n_full - tree.path_blocks).sum())
    longest = int(n_full.max(initial=0))
    return tree.n_keys + n_outputs + 2 * len(trace) + longest + 2


def _tiers(config: RunConfig, profile: Profile, compiled: CompiledTrace) -> TierChoices | None:
    """Return the tiers below the GPU, None if there are none.

    Raises:
        ConfigError: a policy is unknown, or nobody measured the profile's link.
    """
    spec = model(config.model) if config.model else profile.model_spec
    block_bytes = spec.kv_bytes_per_token * config.engine.block_size
    tiers = {}
    for name in TIER_NAMES:
        tier = getattr(config, name)
        n_blocks = tier.blocks or int(tier.gib * 2**30) // block_bytes
        policy = make_policy(tier.policy)
        if n_blocks and policy.is_unbounded:
            n_blocks = max(n_blocks, blocks_for_all(compiled, config.engine.block_size))
        if n_blocks:
            config_of = replace(tier, blocks=n_blocks, gib=0.0)
            tiers[name] = TierChoice(config=config_of, policy=policy)
    if not tiers:
        return None
    if not config.engine.prefix_caching:
        raise ConfigError(f"a {next(iter(tiers))} tier needs prefix caching")
    if profile.link is None:
        raise ConfigError(f"profile {config.profile} has no [link] to the host's memory")
    return TierChoices(
        tiers=tiers,
        link=profile.link,
        copies=config.host.copies,
        block_bytes=block_bytes,
        n_layers=spec.n_layers if config.link.overlap == "layers" else 0,
        fetches_cheaper=config.link.fetch == "cheaper",
        prefetch_lead=config.link.prefetch,
        shares=config.link.sharing == "fair",
    )


def _goodput_per_s(requests: NDArray[Any], duration_s: float, config: RunConfig) -> float | None:
    """Requests a second that finished within the limits; None without limits."""
    if not (config.slo_ttft_s or config.slo_tpot_s) or not duration_s:
        return None
    done = requests[requests["status"] == FINISHED]
    n = metrics.n_within(done, ttft_limit_s=config.slo_ttft_s, tpot_limit_s=config.slo_tpot_s)
    return n / duration_s


def latency_text(latency: LatencyModel) -> str:
    """Say which step-time formula and numbers a run used."""
    return f"{latency.kind} {' '.join(repr(float(x)) for x in latency.coefficients)}"


def capacity_curve(tree: PrefixTree, config: RunConfig) -> dict[str, Any]:
    """Hit ratio over capacity for one cache of the whole trace: exact lru and the optimum."""
    engine = config.engine
    capacities = curve_points(tree, MAX_CURVE_POINTS).tolist()

    def points(hits: NDArray[np.int64]) -> list[list[float]]:
        return [[c, hit_ratio(int(h), tree)] for c, h in zip(capacities, hits, strict=True)]

    return {
        "block_size": engine.block_size,
        "capacity_blocks": (engine.gpu_blocks - 1) * config.cluster.instances,
        "lru": points(lru_curve(tree).hits_at(capacities)),
        "optimum": points(optimum_curve(tree, capacities)),
    }
