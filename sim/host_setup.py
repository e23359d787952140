"""The host's part of the cache before the first arrival, from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..calibration.gpu_profile import Link
from ..policies import Policy
from ..policies.base import Binding, Setting
from ..policies.lru import Lru
from ..policies.order import ITEM, LRU_LIST, make_orders
from .config import HostConfig
from .host_tier import WRITE_BACK, WRITE_THROUGH
from .records import HOST, HOST_BLOCK


@dataclass(frozen=True, slots=True, kw_only=True)
class HostChoice:
    """A host buffer: its settings, its policy, and the link to it."""

    config: HostConfig
    policy: Policy
    link: Link
    block_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostState:
    """What the state record gets for the host."""

    sizes: dict[str, int]
    arrays: dict[str, NDArray[Any]]
    binding: Binding


def host_state(choice: HostChoice | None, setting: Setting, *, n_gpu_blocks: int) -> HostState:
    """Lay out empty host buffers of all instances; `setting` is the GPU policy's."""
    n_instances = setting.n_caches
    n_host = choice.config.blocks if choice else 0
    n_slots = 1 << (2 * n_host).bit_length()
    binding = Binding(mode=LRU_LIST)
    links = np.ones(4)
    is_selective = is_write_back = False
    if choice is not None:
        own = Setting(
            n_items=n_instances * n_host,
            n_caches=n_instances,
            n_keys=setting.n_keys,
            capacity_blocks=n_host,
            category_names=setting.category_names,
            seed=setting.seed + 1,
            parent_keys=setting.parent_keys,
            block_size=setting.block_size,
        )
        if type(choice.policy) is not Lru:
            binding = choice.policy.bind(own)
        binding.kept_alive.append(own)
        link = choice.link
        rates = link.up_bytes_per_s, link.down_bytes_per_s
        if choice.config.copies == "scattered":
            rates = link.scattered_bytes_per_s, link.scattered_bytes_per_s
        links[:] = *rates, link.start_s, choice.block_bytes
        is_selective = choice.config.write == "selective"
        is_write_back = choice.config.write == "write-back"
    hosts = np.zeros(n_instances, HOST)
    hosts["free_head"] = hosts["lru_head"] = hosts["lru_tail"] = -1
    orders, heaps = make_orders(binding, n_caches=n_instances, n_items=max(1, n_host))
    n_items = 1 if binding.mode == LRU_LIST else n_instances * n_host
    return HostState(
        sizes={
            "n_host": n_host,
            "n_host_slots": n_slots,
            "n_host_queues": binding.n_queues,
            "n_host_heap_entries": len(heaps),
            "host_write": WRITE_BACK if is_write_back else WRITE_THROUGH,
            "host_min_hits": choice.config.min_hits if choice and is_selective else 0,
        },
        arrays={
            "hosts": hosts,
            "host_blocks": np.zeros(n_instances * n_host, HOST_BLOCK),
            "host_slots": np.full((n_instances, n_slots), -1, np.int32),
            "host_items": np.zeros(n_items, ITEM),
            "host_orders": orders,
            "host_heaps": heaps,
            "host_params": binding.params,
            "block_hits": np.zeros(n_instances * n_gpu_blocks if is_selective else 1, np.int32),
            "links": links,
        },
        binding=binding,
    )
