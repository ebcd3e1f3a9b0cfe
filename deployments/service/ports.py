"""Chooses the ports that Ray Serve and HAProxy open, so that two services on one machine never share one.

Ray's own defaults are fixed numbers. Ray's fallback proxy even binds its port with `SO_REUSEPORT`, so that the kernel
hands one service's requests to another (`ray.env` turns that off). The default numbers are kept where they are free.
"""

import random
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from trivet.errors import ConfigError

INGRESS_PORTS = 100
"""Ports in the range from which Ray gives each ingress replica one: replicas that are replaced need further ones."""

_TRIED = 200
_RANDOM_RANGE = (20_000, 29_900)
"""Below the kernel's ephemeral ports (32768 and up), above most registered ones."""


@dataclass(frozen=True, slots=True)
class PortRole:
    """One port of a service: the variable that sets it, its default, and its purpose."""

    variable: str
    default: int
    purpose: str

    def given(self, environ: Mapping[str, str]) -> int | None:
        """Return the port that a variable sets; None where it is not set.

        Raises:
            ConfigError: it is no port.
        """
        return _given(environ, self.variable)


FALLBACK = PortRole("RAY_SERVE_FALLBACK_PROXY_HTTP_PORT", 8500, "Ray's Python proxy, HAProxy's fallback")
METRICS = PortRole("RAY_SERVE_HAPROXY_METRICS_PORT", 9101, "HAProxy's metrics")
STATS = PortRole("RAY_SERVE_HAPROXY_STATS_PORT", 8404, "HAProxy's statistics")
DASHBOARD = PortRole("TRIVET_RAY_DASHBOARD_PORT", 8265, "Ray's dashboard")
DASHBOARD_METRICS = PortRole("DASHBOARD_METRIC_PORT", 44_227, "the metrics of Ray's dashboard")
SINGLE = (FALLBACK, METRICS, STATS, DASHBOARD, DASHBOARD_METRICS)
INGRESS_FIRST = PortRole("RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", 30_000, "the ingress replicas, from here on")
INGRESS_LAST = "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"


def _given(environ: Mapping[str, str], variable: str) -> int | None:
    value = environ.get(variable)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and 1 <= int(value[:6]) <= 65535):
        raise ConfigError(f"the variable {variable} is {value[:80]!r}; it must be a number from 1 to 65535")
    return int(value)


def choose_ports(
    environ: Mapping[str, str], taken: Collection[int], is_free: Callable[[int], bool] | None = None
) -> dict[str, str]:
    """Return the variables that give a service separate ports. A variable that is set already is kept.

    Args:
        environ: the caller's environment.
        taken: ports that other services of this machine have, whether they listen at this moment or not.
        is_free: whether a port can be bound on loopback.

    Raises:
        ConfigError: no free port was found.
    """
    can_bind = is_free or is_free_on_loopback
    used = set(taken) | {port for role in SINGLE if (port := role.given(environ)) is not None}
    chosen: dict[str, str] = {}
    for role in SINGLE:
        if role.variable in environ:
            continue
        port = _first_free(chain([role.default], _random_ports()), used, can_bind, role.purpose)
        used.add(port)
        chosen[role.variable] = str(port)
    if INGRESS_FIRST.variable not in environ:
        first = _first_free_block(used, can_bind)
        chosen |= {INGRESS_FIRST.variable: str(first), INGRESS_LAST: str(first + INGRESS_PORTS)}
    return chosen


def ports_of(environ: Mapping[str, str]) -> list[int]:
    """Return every port that a service with these variables may open, with the whole range of its ingress replicas."""
    single = [role.given(environ) or role.default for role in SINGLE]
    first = INGRESS_FIRST.given(environ) or INGRESS_FIRST.default
    last = _given(environ, INGRESS_LAST) or first + INGRESS_PORTS
    return [*single, *range(first, last)]


def named_ports(environ: Mapping[str, str]) -> dict[str, int]:
    """Return the ports that these variables set, by purpose; `trivet serve` sets all of them."""
    variables = {
        **{role.variable: role.purpose for role in (*SINGLE, INGRESS_FIRST)},
        INGRESS_LAST: "the ingress replicas, up to here",
    }
    given = {purpose: _given(environ, name) for name, purpose in variables.items()}
    return {purpose: port for purpose, port in given.items() if port is not None}


def is_free_on_loopback(port: int) -> bool:
    """Return whether no process of this machine has the port: without `SO_REUSEPORT` a port in use cannot be bound."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _random_ports() -> Iterator[int]:
    for _ in range(_TRIED):
        yield random.randint(*_RANDOM_RANGE)


def _first_free(candidates: Iterator[int], used: Collection[int], can_bind: Callable[[int], bool], purpose: str) -> int:
    for port in candidates:
        if port not in used and can_bind(port):
            return port
    raise ConfigError(f"found no free port for {purpose}; set its variable in the environment (docs/security.md)")


def _first_free_block(used: Collection[int], can_bind: Callable[[int], bool]) -> int:
    """Return the first port of a range in which no other service has a port. Ray skips single ports that are in use."""
    starts = chain([INGRESS_FIRST.default], (port - port % INGRESS_PORTS for port in _random_ports()))
    for first in starts:
        if not any(port in used for port in range(first, first + INGRESS_PORTS)) and can_bind(first):
            return first
    raise ConfigError(
        f"found no range of {INGRESS_PORTS} free ports for {INGRESS_FIRST.purpose}; set {INGRESS_FIRST.variable}"
    )
