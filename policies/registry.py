"""Every policy by name, and how others are found: entry points, FILE.py:Class, pkg.module:Class."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from pathlib import Path

from .. import ConfigError, PolicyError
from .base import Policy

POLICIES: dict[str, str] = {
    "2q": "kvsim.policies.two_q:TwoQ",
    "arc": "kvsim.policies.arc:Arc",
    "belady": "kvsim.policies.belady:Belady",
    "clock": "kvsim.policies.clock:Clock",
    "continuum": "kvsim.policies.continuum:Continuum",
    "dynamo-multi-lru": "kvsim.policies.dynamo_multi_lru:DynamoMultiLru",
    "fifo": "kvsim.policies.fifo:Fifo",
    "filo": "kvsim.policies.filo:Filo",
    "gdsf": "kvsim.policies.gdsf:Gdsf",
    "hyperbolic": "kvsim.policies.hyperbolic:Hyperbolic",
    "infinite": "kvsim.policies.infinite:Infinite",
    "kvflow": "kvsim.policies.kvflow:KvFlow",
    "learned-reuse": "kvsim.policies.learned_reuse:LearnedReuse",
    "lecar": "kvsim.policies.lecar:Lecar",
    "lfu": "kvsim.policies.lfu:Lfu",
    "lfuda": "kvsim.policies.lfuda:Lfuda",
    "lhd": "kvsim.policies.lhd:Lhd",
    "lirs": "kvsim.policies.lirs:Lirs",
    "lpc": "kvsim.policies.lpc:Lpc",
    "lru": "kvsim.policies.lru:Lru",
    "lsm-gnn": "kvsim.policies.lsm_gnn:LsmGnn",
    "marconi": "kvsim.policies.marconi:Marconi",
    "mooncake": "kvsim.policies.mooncake:Mooncake",
    "mru": "kvsim.policies.mru:Mru",
    "peek": "kvsim.policies.peek:Peek",
    "pensieve": "kvsim.policies.pensieve:Pensieve",
    "posterior-hazard": "kvsim.policies.posterior_hazard:PosteriorHazard",
    "queue-informed-lru": "kvsim.policies.queue_informed_lru:QueueInformedLru",
    "ragcache": "kvsim.policies.ragcache:RagCache",
    "random": "kvsim.policies.random_leaf:RandomLeaf",
    "rlt": "kvsim.policies.rlt:Rlt",
    "s3-fifo": "kvsim.policies.s3_fifo:S3Fifo",
    "sglang-lfu": "kvsim.policies.sglang:SglangLfu",
    "sglang-lru": "kvsim.policies.sglang:SglangLru",
    "sglang-priority": "kvsim.policies.sglang:SglangPriority",
    "sglang-slru": "kvsim.policies.sglang:SglangSlru",
    "sglang-t-lru": "kvsim.policies.sglang:SglangTLru",
    "sieve": "kvsim.policies.sieve:Sieve",
    "slru": "kvsim.policies.slru:Slru",
    "t-lru": "kvsim.policies.t_lru:TLru",
    "trt-llm": "kvsim.policies.trt_llm:TrtLlm",
    "w-tinylfu": "kvsim.policies.w_tinylfu:WTinyLfu",
    "workload-aware": "kvsim.policies.workload_aware:WorkloadAware",
}
"""One line a policy; the address is imported when the policy is asked for."""

ENTRY_POINTS = "kvsim.policies"
"""Group of entry points by which installed packages offer policies of their own."""


def make_policy(text: str) -> Policy:
    """Build a policy from `NAME`, `FILE.py:Class` or `pkg.mod:Class`, then `,parameter=value`...

    >>> make_policy("workload-aware,life_s=30").life_s
    30.0

    Raises:
        ConfigError: unknown name or parameter; the nearest name is suggested.
        PolicyError: the address cannot be loaded, or is no policy.
    """
    address, *settings = text.split(",")
    params = {}
    for setting in settings:
        name, is_set, value = setting.partition("=")
        if not is_set:
            raise ConfigError(f"policy {address}: {setting!r} must be parameter=value")
        if name.strip() in params:
            raise ConfigError(f"policy {address}: {name.strip()} is given twice")
        params[name.strip()] = value.strip()
    return find_policy(address.strip()).with_params(params)


def find_policy(address: str) -> type[Policy]:
    """Find a policy class by name or address.

    Raises:
        ConfigError: unknown name.
        PolicyError: the address cannot be loaded, or is no policy.
    """
    if address.endswith(".py"):
        raise ConfigError(f"policy {address}: name its class, {address}:CLASS")
    if ":" not in address:
        address = POLICIES.get(address) or _installed_address(address)
    place, _, name = address.rpartition(":")
    try:
        module = _module_from_file(Path(place)) if place.endswith(".py") else None
        if module is None:
            module = importlib.import_module(place)
    except PolicyError:
        raise
    except (Exception, SystemExit) as error:
        raise PolicyError(f"policy {address}: {type(error).__name__}: {error}") from None
    policy = getattr(module, name, None)
    if policy is None:
        others = ", ".join(
            key
            for key, value in vars(module).items()
            if isinstance(value, type)
            and issubclass(value, Policy)
            and value.__module__ == getattr(module, "__name__", "")
        )
        hint = f"; it has {others}" if others else ""
        raise PolicyError(
            f"policy {address}: {place} has no {name or 'class without a name'}{hint}"
        )
    if not (isinstance(policy, type) and issubclass(policy, Policy)):
        raise PolicyError(
            f"policy {address}: {name} must be a subclass of ScorePolicy, QueuePolicy,"
            " SampledPolicy or EvictionPolicy from kvsim.policies"
        )
    missing = ", ".join(sorted(policy.__abstractmethods__))
    if missing:
        raise PolicyError(f"policy {address}: {name} does not define {missing}")
    return policy


def installed_policies() -> dict[str, str]:
    """Return the policies of other installed packages: addresses by name; ours go first."""
    from importlib.metadata import entry_points  # not needed for any of ours, and slow to start

    points = entry_points(group=ENTRY_POINTS)
    found = {point.name: f"{point.module}:{point.attr}" for point in points}
    return {name: found[name] for name in sorted(found) if name not in POLICIES}


def _installed_address(name: str) -> str:
    installed = installed_policies()
    if name not in installed:
        known = [*POLICIES, *installed]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"unknown policy {name!r}{hint} (known: {', '.join(known)})")
    return installed[name]


def _module_from_file(path: Path) -> object:
    if not path.is_file():
        raise PolicyError(f"policy file {path}: no such file")
    name = f"kvsim_user_policy_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
