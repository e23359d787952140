"""Random tiers for engine and model alike, and how both are run on them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pvp_model
import scheduler_model as model
import tier_model
from cases import Case, prepared_engine

from kvsim.calibration.gpu_profile import Link
from kvsim.policies import Policy, make_policy
from kvsim.sim.config import DiskConfig, HostConfig, PeerConfig, TierConfig
from kvsim.sim.engine import World
from kvsim.sim.router import router_code
from kvsim.sim.setup import Prepared
from kvsim.sim.tier_setup import TierChoice, TierChoices

BLOCK_BYTES = 1000
WRITES = ("write-through", "write-back", "selective")
CONFIGS: dict[str, type[TierConfig]] = {
    "peer": PeerConfig,
    "host": HostConfig,
    "disk": DiskConfig,
}
LAYOUTS = (
    ("host",),
    ("disk",),
    ("host", "disk"),
    ("peer", "host"),
    ("peer", "host", "disk"),
)


def choices(
    rng: np.random.Generator,
    layout: tuple[str, ...],
    *,
    write: str = "",
    policy: Policy | str = "lru",
    **settings: Any,
) -> TierChoices:
    """Random tiers; all with the same `write`, if it is given."""
    tiers = {}
    chosen = make_policy(policy) if isinstance(policy, str) else policy
    for name in layout:
        mine = write or str(rng.choice(WRITES))
        is_inclusive = mine != "write-back" or rng.random() < 0.3
        config = CONFIGS[name](
            blocks=int(rng.integers(1, 30)),
            write=mine,
            min_hits=int(rng.integers(1, 3)),
            inclusion="inclusive" if is_inclusive else "auto",
            placement=settings.get("placement", "private"),
            run_blocks=int(2 ** rng.integers(0, 3)),
            gb_per_s=0.0 if name == "host" else float(rng.choice([1e-5, 1e-3, 1.0])),
            start_s=float(rng.choice([0.0, 1e-3])),
        )
        tiers[name] = TierChoice(config=config, policy=chosen)
    return TierChoices(
        tiers=tiers,
        link=Link(
            up_bytes_per_s=float(rng.choice([1e4, 1e6, 1e9])),
            down_bytes_per_s=float(rng.choice([1e4, 1e6, 1e9])),
            scattered_bytes_per_s=1.0,
            start_s=float(rng.choice([0.0, 1e-4])),
        ),
        copies="gathered",
        block_bytes=BLOCK_BYTES,
        n_layers=settings.get("n_layers", 0),
        prefetch_lead=settings.get("prefetch_lead", 0),
        fetches_cheaper=settings.get("fetches_cheaper", False),
        shares=settings.get("shares", False),
    )


def run(
    case: Case,
    tiers: TierChoices,
    *,
    policy: str = "lru",
    n_instances: int = 1,
    router: str = "prefix-aware",
) -> Prepared:
    prepared = prepared_engine(
        case, policy=policy, n_instances=n_instances, is_logged=False, tiers=tiers
    )
    World(prepared, router=router_code(router), policy_name=policy).run()
    return prepared


def model_instance(
    case: Case, given: TierChoices, names: model.Names | None = None
) -> pvp_model.PvpInstance:
    instance = pvp_model.PvpInstance(case.settings, names)
    instance.link = tier_model.LinkSettings(
        up_s=BLOCK_BYTES / given.link.up_bytes_per_s,
        down_s=BLOCK_BYTES / given.link.down_bytes_per_s,
        start_s=given.link.start_s,
    )
    instance.lead = given.prefetch_lead
    instance.ring = None
    n_kept = 0
    host = given.tiers["host"].config if "host" in given.tiers else None
    if isinstance(host, HostConfig) and host.ring_blocks:
        n_kept = host.ring_blocks
        instance.ring = pvp_model.Ring(
            name="ring",
            n_blocks=n_kept,
            write="write-back",
            min_hits=1,
            is_exclusive=True,
            own_s=0.0,
            start_s=0.0,
            window=host.ring_window,
        )
    instance.tiers = [
        tier_model.Tier(
            name=name,
            n_blocks=tier.config.blocks - (n_kept if name == "host" else 0),
            write=tier.config.write,
            min_hits=tier.config.min_hits,
            is_exclusive=tier.config.is_exclusive,
            own_s=BLOCK_BYTES / (tier.config.gb_per_s * 1e9) if tier.config.gb_per_s else 0.0,
            start_s=tier.config.start_s,
        )
        for name, tier in given.tiers.items()
    ]
    return instance


def run_model(case: Case, given: TierChoices) -> tuple[pvp_model.PvpInstance, list[model.Request]]:
    instance = model_instance(case, given)
    requests = case.requests()
    model.run([instance], requests)
    return instance, requests


def cached(case: Case) -> Case:
    return replace(case, settings=replace(case.settings, prefix_caching=True))
