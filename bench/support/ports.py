"""Finds a free loopback port. Separate from `bench.support.service`, which imports Ray."""

import random
import socket

# Below the ports that the kernel assigns to outgoing connections and Ray to its processes, which could take a port
# between this check and the start of the service.
_FIRST, _LAST = 20_000, 29_999


def free_port() -> int:
    """Return a TCP port that is free now."""
    source = random.SystemRandom()
    while True:
        port = source.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # taken
            return port
