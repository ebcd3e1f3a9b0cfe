"""The routers of CPU deployments in this process: what they know of their replicas.

Serve makes the routers, one for a handle or several, in a thread of its own, from a copy of `deployments.router`. This
module is imported and not copied, so the routers and the ingress share what stands here.
"""

import threading
from collections.abc import Sized
from typing import Protocol
from weakref import WeakSet


class CpuReplicas(Protocol):
    """A router, as far as it is asked here."""

    deployment: tuple[str, str]
    """Names of the application and the deployment."""

    @property
    def has_lost_all(self) -> bool:
        """Whether there were replicas, and none is left."""

    @property
    def curr_replicas(self) -> Sized:
        """Those that run."""


_lock = threading.Lock()
_routers: WeakSet[CpuReplicas] = WeakSet()


def add_router(router: CpuReplicas) -> None:
    """Remember a router for as long as it lives."""
    with _lock:
        _routers.add(router)


def has_lost_all_replicas(app_name: str, deployment: str) -> bool:
    """Return whether this process knows that no replica of a CPU deployment is left."""
    return any(router.has_lost_all for router in _routers_of(app_name, deployment))


def running_replicas(app_name: str, deployment: str) -> int | None:
    """Return how many replicas of a CPU deployment run, as far as this process knows; None before it was told."""
    return max((len(router.curr_replicas) for router in _routers_of(app_name, deployment)), default=None)


def _routers_of(app_name: str, deployment: str) -> list[CpuReplicas]:
    with _lock:
        return [router for router in _routers if router.deployment == (app_name, deployment)]
