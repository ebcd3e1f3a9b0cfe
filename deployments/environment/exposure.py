"""Whether callers need an API key: the variable that tells Ray's processes, and a warning if the network needs none."""

import ipaddress

KEYS_VARIABLE = "TRIVET_KEYS_REQUIRED"
"""Set to 1 by `trivet serve` where callers need a key."""


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
