"""Says aloud when anybody on the network could use the service."""

import ipaddress
import logging

logger = logging.getLogger(__name__)


def exposure_warning(host: str, *, has_keys: bool) -> str | None:
    """What to warn of when listening on `host`; None where only this machine gets in, or keys are asked for."""
    if has_keys or _is_loopback(host):
        return None
    return (
        f"listening on {host} WITHOUT API KEYS: anybody who reaches this port can use the models and read what "
        "they answer. Set a key file, or listen on 127.0.0.1."
    )


def warn_if_exposed(host: str, *, has_keys: bool) -> None:
    """Log the warning, if there is one."""
    if warning := exposure_warning(host, has_keys=has_keys):
        logger.warning("%s", warning)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False  # some other name: where it leads is not known here
