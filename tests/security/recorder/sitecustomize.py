"""Logs connection attempts to other machines; every Python process of a service under test loads this module.

An audit hook sees each connection attempt and each name look-up, even if the network refuses them.
"""

import ipaddress
import os
import socket
import sys
from typing import Any

LOG_VARIABLE = "TRIVET_TEST_OUTBOUND_LOG"
_EVENTS = ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname")


def is_local(host: object) -> bool:
    """Return whether a host is this machine: loopback, unspecified, or its own name."""
    if not isinstance(host, str):
        return host is None or (isinstance(host, bytes) and is_local(host.decode("latin-1")))
    if host in ("", "localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False  # a host name, which only a look-up could resolve
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback or address.is_unspecified


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in _EVENTS:
        return
    if event in ("socket.connect", "socket.sendto"):
        if getattr(arguments[0], "family", None) not in (socket.AF_INET, socket.AF_INET6):
            return
        host, port = arguments[1][0], arguments[1][1]
    else:
        host, port = arguments[0], arguments[1] if event == "socket.getaddrinfo" else ""
    if is_local(host):
        return
    line = f"{event} {host} {port} by {' '.join(sys.argv[:3]) or sys.executable}\n".encode()
    descriptor = os.open(os.environ[LOG_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)  # one write: lines of several processes do not mix
    finally:
        os.close(descriptor)


if LOG_VARIABLE in os.environ:
    sys.addaudithook(_note)
