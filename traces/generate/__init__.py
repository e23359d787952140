"""Synthetic traces: arrivals, lengths, sessions, shared prefixes, and workloads by name."""
