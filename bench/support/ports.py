"""A free loopback port. Kept apart from `bench.support.service`, which imports Ray."""

import random
import socket

# Below the ports that the kernel gives to outgoing connections, and Ray to its own processes: those come and go between
# the look here and the service's start.
_FIRST, _LAST = 20_000, 29_999


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    source = random.SystemRandom()
    while True:
        port = source.randint(_FIRST, _LAST)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue  # taken
            return port
