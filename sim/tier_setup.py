"""The tiers below the GPUs before the first arrival, from their configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ConfigError
from ..calibration.gpu_profile import Link
from ..policies import Policy
from ..policies.base import Binding, Setting
from ..policies.lru import Lru
from ..policies.order import ITEM, LRU_LIST, ORDER, make_orders
from ..policies.path_lengths import make_path_lengths
from .config import PLACEMENTS, WRITES, HostConfig, TierConfig
from .records import N_TIERS, TIER, TIER_BLOCK, TRANSFER
from .tiers import DISK, HOST, PEER, RING

TIER_NAMES = {"peer": PEER, "host": HOST, "disk": DISK}
"""Tiers, fastest first, and their numbers in compiled code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierChoice:
    """A tier: its settings, with its size in blocks, and the policy that orders what leaves it."""

    config: TierConfig
    policy: Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TierChoices:
    """All tiers below the GPU, by name, and how blocks get there."""

    tiers: dict[str, TierChoice]
    link: Link
    """Between a GPU and its host."""
    copies: str
    """How blocks cross it: gathered or scattered."""
    block_bytes: int
    n_layers: int = 0
    """Layers of the model, if a request may start before all layers of its blocks are there."""
    fetches_cheaper: bool = False
    """Whether blocks are computed again where that takes less time than to load them."""
    prefetch_lead: int = 0
    """Requests of the queue whose blocks are loaded before their turn."""
    shares: bool = False
    """Whether transfers share links fairly, in place of one after the other."""

    @property
    def is_fair(self) -> bool:
        """Whether links are shared: of caches that several instances use they always are."""
        return self.shares or self.are_shared

    @property
    def are_shared(self) -> bool:
        """Whether some cache is used by several instances."""
        return any(tier.config.placement != "private" for tier in self.tiers.values())

    @property
    def need_future(self) -> bool:
        """Whether the policy of some tier does."""
        return any(tier.policy.needs_future for tier in self.tiers.values())

    @property
    def need_history(self) -> bool:
        """Whether what the GPU evicts goes to tiers, and a policy there asks for its past."""
        first = next((self.tiers[name].config for name in TIER_NAMES if name in self.tiers), None)
        host = self.tiers.get("host")
        has_ring = host is not None and getattr(host.config, "ring_blocks", 0) > 0
        is_filled = has_ring or (first is not None and first.write == "write-back")
        return is_filled and any(type(tier.policy) is not Lru for tier in self.tiers.values())

    def n_blocks(self, n_instances: int) -> int:
        """Blocks of all caches."""
        return sum(
            tier.config.blocks * (1 if tier.config.placement == "shared" else n_instances)
            for tier in self.tiers.values()
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TierState:
    """What the state record gets for the tiers."""

    sizes: dict[str, int]
    arrays: dict[str, NDArray[Any]]
    bindings: dict[str, Binding]
    fitted: Binding
    """Of the tiers whose policy follows the arrivals, if there is one."""


def tier_state(
    choices: TierChoices | None,
    setting: Setting,
    *,
    n_gpu_blocks: int,
    max_num_seqs: int,
    n_runs: int,
    run_of: Callable[[], NDArray[np.int32]],
) -> TierState:
    """Lay out the empty tiers of all instances; `setting` is the GPU policy's.

    `run_of` gives the run of each key, (n_keys,), as `path_lengths` has it, of `n_runs`.
    """
    n = setting.n_caches
    runs = _Runs(n_runs, run_of)
    tiers = np.zeros(N_TIERS * n, TIER)
    orders = np.zeros(N_TIERS * n, ORDER)
    orders["mode"] = LRU_LIST
    bindings: dict[str, Binding] = {}
    fitted = Binding(mode=LRU_LIST)
    links = np.ones(4)
    first: TierConfig | None = None
    ring_window = 0
    if choices is not None:
        link, block_bytes = choices.link, choices.block_bytes
        rates = [link.up_bytes_per_s, link.down_bytes_per_s]
        if choices.copies == "scattered":
            rates = [link.scattered_bytes_per_s] * 2
        links[:] = *(block_bytes / rate for rate in rates), link.start_s, block_bytes
        for name, number in TIER_NAMES.items():
            choice = choices.tiers.get(name)
            if choice is None:
                continue
            first = first or choice.config
            own = slice(number * n, (number + 1) * n)
            n_caches = 1 if choice.config.placement == "shared" else n
            if isinstance(choice.config, HostConfig) and choice.config.ring_blocks:
                ring_window = choice.config.ring_window
                choice, kept = _divided(choice, choice.config)
                bindings["ring"] = _bind(kept, setting, n, RING, runs, tiers)
                at = slice(RING * n, (RING + 1) * n)
                _fill(tiers[at], orders[at], kept.config, bindings["ring"], block_bytes, n)
            binding = _bind(choice, setting, n_caches, number, runs, tiers)
            if binding.fit_arguments is not None:
                known = fitted.fit_arguments
                if known is not None and repr(known) != repr(binding.fit_arguments):
                    raise ConfigError(
                        f"{name}.policy: tiers whose policies are refitted need the same parameters"
                    )
                if known is None:
                    fitted = binding
                binding.params = fitted.params
            bindings[name] = binding
            _fill(tiers[own], orders[own], choice.config, binding, block_bytes, n_caches)
    is_selective = first is not None and first.write == "selective"
    is_fair = choices is not None and choices.is_fair
    lead = choices.prefetch_lead if choices else 0
    n_transfers = (2 * max_num_seqs + lead) * (n + 2) + N_TIERS * 2 * n if is_fair else 1
    return TierState(
        sizes={
            "has_tiers": int(first is not None),
            "tiers_hear": int(bool(tiers["needs_future"].any() or tiers["lengths"].any())),
            "first_tier_write": WRITES.index(first.write) if first else 0,
            "min_gpu_hits": first.min_hits if first is not None and is_selective else 0,
            "is_fair": int(is_fair),
            "fetches_cheaper": int(choices is not None and choices.fetches_cheaper),
            "prefetch_lead": lead,
            "ring_window": ring_window,
            "n_layers": choices.n_layers if choices else 0,
            "n_transfers": n_transfers,
            "n_tier_queues": len(fitted.params),
        },
        arrays={
            "tier_params": fitted.params,
            "tiers": tiers,
            "tier_orders": orders,
            "transfers": np.zeros(n_transfers, TRANSFER),
            "block_hits": np.zeros(n * n_gpu_blocks if is_selective else 1, np.int32),
            "links": links,
        },
        bindings=bindings,
        fitted=fitted,
    )


def _divided(choice: TierChoice, config: HostConfig) -> tuple[TierChoice, TierChoice]:
    """Return the normal part of a host's memory, and the ring, as tiers."""
    n_kept = config.ring_blocks
    kept = TierConfig(blocks=n_kept, write="write-back", inclusion="exclusive")
    rest = replace(config, blocks=config.blocks - n_kept, ring=0.0)
    return replace(choice, config=rest), TierChoice(config=kept, policy=Lru())


class _Runs:
    """Runs of keys that are used by the same requests."""

    def __init__(self, n_runs: int, run_of: Callable[[], NDArray[np.int32]]) -> None:
        self.n_runs = n_runs
        self._make = run_of

    @cached_property
    def of(self) -> NDArray[np.int32]:
        """(n_keys,): the run of each key."""
        return self._make()


def _bind(
    choice: TierChoice,
    setting: Setting,
    n_caches: int,
    number: int,
    runs: _Runs,
    tiers: NDArray[Any],
) -> Binding:
    """Tie a tier's policy to this run; lru needs no order of its own.

    What it wants to know of whole requests is noted in its caches, of all `tiers`.
    """
    n = setting.n_caches
    caches = tiers[number * n : (number + 1) * n]
    is_private = choice.config.placement == "private"
    told: dict[int, tuple[NDArray[Any], ...]] = {}

    def path_lengths(cache: int) -> int:
        """Caches that all instances use hear of all requests, so they have the same lengths."""
        cache = cache if is_private else 0
        if cache not in told:
            lengths = np.zeros(runs.n_runs, np.int32)
            told[cache] = make_path_lengths(runs.of, lengths), lengths
            caches["lengths"][slice(cache, cache + 1) if is_private else slice(None)] = (
                lengths.ctypes.data
            )
        return int(told[cache][0].ctypes.data)

    own = Setting(
        n_items=n_caches * choice.config.blocks,
        n_caches=n_caches,
        n_keys=setting.n_keys,
        capacity_blocks=choice.config.blocks,
        category_names=setting.category_names,
        seed=setting.seed + number,
        first_part=setting.first_part,
        rehearse=setting.rehearse,
        parent_keys=setting.parent_keys,
        path_lengths=path_lengths,
        block_size=setting.block_size,
    )
    is_list = type(choice.policy) is Lru
    binding = Binding(mode=LRU_LIST) if is_list else choice.policy.bind(own)
    binding.kept_alive += [own, runs, told]
    caches["needs_future"] = choice.policy.needs_future
    return binding


def _fill(
    tiers: NDArray[Any],
    orders: NDArray[Any],
    config: TierConfig,
    binding: Binding,
    block_bytes: int,
    n_caches: int,
) -> None:
    """Set up the caches of one tier, (n_instances,) of TIER and of ORDER."""
    n_all = n_caches * config.blocks
    own_orders, heaps = make_orders(binding, n_caches=n_caches, n_items=config.blocks)
    orders[:n_caches] = own_orders
    n_slots = 1 << (2 * config.blocks).bit_length()
    blocks = np.zeros(n_all, TIER_BLOCK)
    slots = np.full((n_caches, n_slots), -1, np.int32)
    items = np.zeros(1 if binding.mode == LRU_LIST else n_all + 1, ITEM)  # one to tell of
    binding.kept_alive += [heaps, blocks, slots, items]
    tiers["write"] = WRITES.index(config.write)
    tiers["min_hits"] = config.min_hits if config.write == "selective" else 0
    tiers["is_exclusive"] = config.is_exclusive
    tiers["placement"] = PLACEMENTS.index(config.placement)
    tiers["run_bits"] = (config.run_blocks - 1).bit_length()
    if config.gb_per_s:
        tiers["up_s"] = tiers["down_s"] = block_bytes / (config.gb_per_s * 1e9)
        tiers["start_s"] = config.start_s
    tiers["free_head"] = tiers["lru_head"] = tiers["lru_tail"] = -1
    tiers["n_all"] = n_all
    tiers["blocks"] = blocks.ctypes.data
    tiers["items"] = items.ctypes.data
    tiers["heaps"] = heaps.ctypes.data
    tiers["params"] = binding.params.ctypes.data
    tiers["n_queues"], tiers["n_params"] = binding.params.shape
    tiers["n_heap_entries"] = len(heaps)
    tiers["n_slots"] = n_slots
    # all instances use the first cache of a shared tier, but who asks whether there is such a
    # tier may look at any
    tiers["n_blocks"] = config.blocks
    for cache in range(n_caches):
        tiers[cache]["slots"] = slots[cache].ctypes.data
        tiers[cache]["first"] = cache * config.blocks
