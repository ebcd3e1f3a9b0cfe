"""Reads the address of an Ollama server in every form that Ollama's own `OLLAMA_HOST` allows. Pure."""

import ipaddress
import re

DEFAULT_PORT = 11434
_PORTS = {"http": 80, "https": 443}
"""Ports that Ollama assumes where the address has a scheme and no port."""
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?")


def server_url(address: str) -> str:
    """Return the base URL of a server, without a slash at its end.

    Forms: `host`, `host:port`, `:port`, an IPv6 address with or without brackets, each with or without `http://` or
    `https://` in front and a path behind. Without a scheme the port is 11434; with one it is that of the scheme. An
    address to listen on (`0.0.0.0`, `::`, or no host) is reached at the loopback address.

    Raises:
        ValueError: the address has none of these forms.
    """
    text = address.strip().strip("\"'").strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "http", text
    scheme = scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(f"{address!r}: the scheme of an Ollama server is http or https, not {scheme!r}")
    if "@" in rest or "?" in rest or "#" in rest:
        raise ValueError(f"{address!r}: an Ollama server's address has no user, query or fragment")
    authority, slash, path = rest.partition("/")
    host, port = _host_and_port(address, authority)
    if port is None:
        port = _PORTS[scheme] if separator else DEFAULT_PORT
    return f"{scheme}://{_reached(address, host)}:{port}{(slash + path).rstrip('/')}"


def _host_and_port(address: str, authority: str) -> tuple[str, int | None]:
    if _is_ip(authority):  # such as ::1, whose colons separate no port
        return authority, None
    host, colon, port = authority.rpartition(":")
    if not colon or authority.endswith("]"):
        return authority, None
    if not port.isascii() or not port.isdigit() or not 0 < int(port) <= 65535:
        raise ValueError(f"{address!r}: {port!r} is not a port from 1 to 65535")
    return host, int(port)


def _reached(address: str, host: str) -> str:
    """Return the host as it stands in a URL."""
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if _is_ip(bare):
        ip = ipaddress.ip_address(bare)
        if ip.is_unspecified:
            return "127.0.0.1" if ip.version == 4 else "[::1]"
        return str(ip) if ip.version == 4 else f"[{ip}]"
    if not host:
        return "127.0.0.1"
    if not _HOST.fullmatch(host):
        raise ValueError(f"{address!r}: {host!r} is not the name or address of a host")
    return host


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
