"""SGLang's radix cache in plain Python: nodes that split, and leaves that leave whole.

After `RadixCache` of SGLang: match, evict, insert, on blocks in place of tokens; a request is
served at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from prefix_cache_model import Access, Path


@dataclass(eq=False)
class Node:
    key: Path
    parent: Node | None
    last: float = 0.0
    hits: int = 1
    priority: float = 0.0
    length: int = 0
    """Of the longest path through it so far."""
    children: dict[int, Node] = field(default_factory=dict)


def common(a: Path, b: Path) -> int:
    return next(
        (k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


@dataclass
class RadixCache:
    """One cache; `order` is the policy's name in SGLang."""

    capacity: int
    order: str
    priorities: Sequence[float]
    spare: int = 0
    """Blocks at the end of a path that are safe to lose, of `tlru`."""
    root: Node = field(default_factory=lambda: Node((), None))
    clock: int = 0

    def split(self, child: Node, n: int) -> Node:
        parent = child.parent
        assert parent is not None
        upper = Node(child.key[:n], parent, hits=child.hits, priority=child.priority)
        upper.last = self.clock
        upper.length = child.length
        parent.children[child.key[0]] = upper
        upper.children[child.key[n]] = child
        child.parent, child.key = upper, child.key[n:]
        return upper

    def walk(self, path: Path, priority: float, *, is_counted: bool) -> tuple[Node, int]:
        """Go down a path, cutting the node in which it ends; the last node, blocks matched."""
        self.clock += 1
        node, n = self.root, 0
        while n < len(path) and path[n] in node.children:
            node = node.children[path[n]]
            node.last = self.clock
            k = common(node.key, path[n:])
            n += k
            if k < len(node.key):
                node = self.split(node, k)
            node.priority = max(node.priority, priority)
            node.hits += is_counted
        return node, n

    def nodes(self) -> list[Node]:
        found = [self.root]
        for node in found:
            found.extend(node.children.values())
        return found[1:]

    def start(self, node: Node) -> int:
        """Blocks above a node."""
        return len(node.parent.key) + self.start(node.parent) if node.parent is not None else 0

    def rank(self, node: Node) -> tuple[float, float]:
        first = {
            "lru": node.last,
            "lfu": node.hits,
            "slru": float(node.hits >= 2),
            "priority": node.priority,
            "tlru": float(self.start(node) < node.length - self.spare),
        }[self.order]
        return first, node.last

    def evict(self, n_blocks: int, locked: set[int]) -> None:
        while n_blocks > 0:
            leaves = [x for x in self.nodes() if not x.children and id(x) not in locked]
            if not leaves:
                return
            leaf = min(leaves, key=self.rank)
            assert leaf.parent is not None
            n_blocks -= len(leaf.key)
            del leaf.parent.children[leaf.key[0]]

    def serve(self, access: Access) -> int:
        """Hit blocks of a request."""
        path = access.path
        if len(path) > self.capacity:
            return 0
        priority = self.priorities[access.category]
        node, n_hits = self.walk(path, priority, is_counted=True)
        locked = set()
        up: Node | None = node
        while up is not None:
            locked.add(id(up))
            up = up.parent
        n_free = self.capacity - sum(len(x.key) for x in self.nodes())
        n_new = len(path) - n_hits
        if n_free < n_new:
            self.evict(n_new - n_free, locked)
        node, n = self.walk(path, priority, is_counted=False)
        if n < len(path):
            leaf = Node(path[n:], node, last=self.clock, priority=priority)
            node.children[path[n]] = leaf
            node = leaf
        above: Node | None = node
        while above is not None:
            above.length = max(above.length, len(path))
            above = above.parent
        return n_hits


def replay(
    accesses: Sequence[Access],
    capacity: int,
    *,
    order: str,
    priorities: Sequence[float] = (0.0, 0.0, 0.0),
    spare: int = 0,
) -> list[int]:
    """Hit blocks of each request."""
    cache = RadixCache(capacity, order, priorities, spare)
    return [cache.serve(access) for access in accesses]
