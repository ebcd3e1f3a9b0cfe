"""Warns if the service can be used from the network without an API key."""

import ipaddress


def exposure_warning(host: str, *, has_keys: bool) -> str | None:
    """Return the warning for listening on `host`; None for a loopback address, or if API keys are required."""
    if has_keys or _is_loopback(host):
        return None
    return (
        f"listening on {host} WITHOUT API KEYS: everybody who can reach this port can use the models. "
        "Set api.keys_file, or listen on 127.0.0.1."
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # another host name, which may resolve to any address
