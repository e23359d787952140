"""What to evict. Knows nothing of the simulator."""
