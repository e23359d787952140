"""A power-law graph, its neighbour samples and the reverse PageRank of its nodes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .neighbour_cache import Batches


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """Edges by source: node v points to `target[offsets[v]:offsets[v + 1]]`."""

    offsets: NDArray[np.int64]
    target: NDArray[np.int64]

    @property
    def n_nodes(self) -> int:
        """Nodes, with and without edges."""
        return len(self.offsets) - 1


def power_law_graph(n_nodes: int, alpha: float, *, seed: int, mean_degree: float = 15.0) -> Graph:
    """Draw out-degrees from a Poisson law and targets from Zipf's, over shuffled nodes."""
    rng = np.random.default_rng(seed)
    degree = rng.poisson(mean_degree, n_nodes)
    weight = np.cumsum(np.arange(1, n_nodes + 1) ** -alpha)
    drawn = np.searchsorted(weight / weight[-1], rng.random(int(degree.sum())))
    target = rng.permutation(n_nodes)[np.minimum(drawn, n_nodes - 1)]
    return Graph(offsets=np.concatenate(([0], np.cumsum(degree))), target=target)


def reverse_pagerank_score(graph: Graph, *, n_iterations: int = 20) -> NDArray[np.uint8]:
    """Rank nodes by the PageRank of the graph with edges turned round: 255 is the highest.

    A node passes its value to those that point to it, in equal parts, with damping 0.85. Nodes
    that many samples reach get values from wherever their samplers' values come from.
    """
    n = graph.n_nodes
    source = np.repeat(np.arange(n), np.diff(graph.offsets))
    n_out = np.maximum(np.diff(graph.offsets), 1)
    value = np.full(n, 1.0 / n)
    for _ in range(n_iterations):
        passed = np.bincount(graph.target, weights=(value / n_out)[source], minlength=n)
        value = 0.15 / n + 0.85 * passed
    rank = np.empty(n, np.int64)
    rank[np.argsort(value, kind="stable")] = np.arange(n)
    return (255 * rank // max(n - 1, 1)).astype(np.uint8)


def sample_batches(
    graph: Graph,
    n_batches: int,
    *,
    seed: int,
    n_seeds: int = 256,
    fan_out: tuple[int, ...] = (10, 5),
) -> Batches:
    """Draw seeds, their neighbours, and the neighbours of those: all of them make a batch."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_batches):
        reached = [rng.choice(graph.n_nodes, n_seeds, replace=False)]
        for n in fan_out:
            reached.append(np.unique(_neighbours(graph, reached[-1], n, rng)))
        found.append(np.unique(np.concatenate(reached)))
    offsets = np.concatenate(([0], np.cumsum([len(nodes) for nodes in found])))
    return Batches(n_nodes=graph.n_nodes, offsets=offsets, nodes=np.concatenate(found))


def _neighbours(
    graph: Graph, nodes: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Follow `n` random edges of each node that has any, with replacement."""
    start = graph.offsets[nodes]
    degree = graph.offsets[nodes + 1] - start
    start, degree = start[degree > 0, None], degree[degree > 0, None]
    edge = start + (rng.random((len(degree), n)) * degree).astype(np.int64)
    return graph.target[edge.ravel()]
