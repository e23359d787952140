"""What to evict: the contracts, and every policy by name. Knows nothing of the simulator."""

from __future__ import annotations

from .base import Block, EvictionPolicy, Policy, QueuePolicy, ScorePolicy
from .registry import POLICIES, find_policy, installed_policies, make_policy
from .sampled import Moment, SampledPolicy

__all__ = [
    "POLICIES",
    "Block",
    "EvictionPolicy",
    "Moment",
    "Policy",
    "QueuePolicy",
    "SampledPolicy",
    "ScorePolicy",
    "find_policy",
    "installed_policies",
    "make_policy",
]
