"""What HAProxy lets in: how many connections, for how long without a request, and which bodies it holds. Pure.

Limits that need no key, so that callers without one cannot take the place of callers with one:

- Headers must arrive within `HEADER_S`, and so must a body's first buffer; a connection may idle for `IDLE_S`.
- A caller who takes nothing of an answer for `UNREAD_S` is cut off, and the ingress need not keep the rest. The time
  does not run while HAProxy has nothing to send.
- One address may hold half of the connections. The number of all follows from the file descriptors that are allowed.
- A body is held, so that it can be sent again when an ingress dies, only for a caller who shows a key, where keys are
  asked for. Every other request reaches the ingress without its body, which refuses it and closes the connection.
- Methods that HTTP does not define are refused here: they would become labels of Ray's metrics.
"""

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from deployments.environment.exposure import KEYS_VARIABLE
from trivet.api.scope import KEY_HEADERS

HEADER_S = 15
IDLE_S = 60
UNREAD_S = 120
"""Twice the default of `limits.unread_timeout_s`, which ends what the ingress keeps: then its log says so."""
MOST_CONNECTIONS = 8192
WATCHED_HEADER = "x-request-disconnect-disabled"
"""Serve's name for it."""
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_DESCRIPTORS_PER_CONNECTION = 2.5
"""Both sides, and half a pipe for data that is passed on without being copied."""
_OTHER_DESCRIPTORS = 200

_METHOD_BODY = (
    '{"error":{"message":"this method is not allowed here","type":"invalid_request_error","param":null,'
    '"code":"method_not_allowed"}}'
)


@dataclass(frozen=True, slots=True)
class Door:
    """The limits of one service."""

    connections: int = MOST_CONNECTIONS
    keys_required: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str], most_descriptors: int | None = None) -> Self:
        """Read the environment. `most_descriptors`: of this process; None asks the system."""
        most = most_descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if most == resource.RLIM_INFINITY:
            most = 1 << 20
        possible = int((most - _OTHER_DESCRIPTORS) / _DESCRIPTORS_PER_CONNECTION)
        return cls(
            connections=max(64, min(MOST_CONNECTIONS, possible)),
            keys_required=environ.get(KEYS_VARIABLE) == "1",
        )

    def default_lines(self) -> list[str]:
        """Return the lines of the section `defaults`."""
        lines = [
            f"timeout http-request {HEADER_S}s",
            f"timeout http-keep-alive {IDLE_S}s",
            f"timeout client {UNREAD_S}s",
        ]
        # HAProxy sends again only what it had in whole before it sent it the first time.
        return lines if self.keys_required else [*lines, "option http-buffer-request"]

    def connection_lines(self) -> list[str]:
        """Return the frontend's lines that judge connections; HAProxy wants them before those on requests."""
        return [
            "stick-table type ipv6 size 100k expire 60s store conn_cur",
            "tcp-request connection track-sc0 src",
            f"tcp-request connection reject if {{ sc0_conn_cur gt {self.connections // 2} }}",
        ]

    def request_lines(self) -> list[str]:
        """Return the frontend's lines that judge requests, before any rule of Ray's."""
        unknown_method = f"if !{{ method {' '.join(METHODS)} }}"
        lines = [
            f"http-request set-log-level silent {unknown_method}",  # Ray counts requests by the lines of the log
            "http-request return status 405 content-type application/json "
            f"hdr allow '{', '.join(METHODS)}' string '{_METHOD_BODY}' {unknown_method}",
            # The application watches for disconnects by itself, and only once a request has taken a while
            # (`trivet.api.middleware.disconnect`). Serve would watch each request with a task and a queue, too.
            f"http-request set-header {WATCHED_HEADER} ?1",
        ]
        if self.keys_required:
            lines += [
                f"http-request wait-for-body time {HEADER_S}s if {{ req.hdr({name}) -m found }}" for name in KEY_HEADERS
            ]
        return lines
