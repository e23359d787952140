"""What happens, and when: instances, caches, routers, the simpy world, results."""
