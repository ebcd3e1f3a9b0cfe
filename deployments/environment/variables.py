"""Reads the environment variables that Ray's processes need from `ray.env`, and reports those that a cluster lacks.

The command line starts clusters with them. `app.build` logs which of them are missing from a cluster that was started
in another way. Imports no ray, and does not read the environment itself.
"""

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1", "127.0.0.0/8", socket.gethostname())

SHIPPED_FILE = Path(__file__).with_name("ray.env")


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable of the file. `effect` is the comment above it, which describes its benefit."""

    name: str
    value: str
    effect: str


def shipped_variables() -> list[Variable]:
    """Read the variables of the file that ships with Trivet."""
    return read_variables(SHIPPED_FILE.read_text(encoding="utf-8"))


def read_variables(text: str) -> list[Variable]:
    """Parse all variables in order. A comment applies to the lines below it, up to an empty line."""
    values = dotenv_values(stream=StringIO(text), interpolate=False)
    variables: list[Variable] = []
    comment: list[str] = []
    after_variable = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("#"):
            if after_variable:
                comment = []
            comment.append(line.lstrip("# "))
            after_variable = False
        elif not line:
            comment = []
        else:
            name = line.partition("=")[0].strip()
            value = values.get(name)
            if value is not None:
                variables.append(Variable(name, value, " ".join(comment)))
            after_variable = True
    return variables


def cluster_environment(variables: Sequence[Variable], environ: Mapping[str, str], *, programs: Path) -> dict[str, str]:
    """Build the environment in which to start a cluster; the caller's `environ` takes precedence over the variables.

    Unless `environ` sets an address, Ray starts a new cluster, because a running one would lack the variables. The name
    of a program becomes its path in the folder `programs`, because Ray does not accept a bare name.
    """
    listed = {
        variable.name: str(programs / variable.value)
        if variable.name.endswith("_BINARY_PATH") and "/" not in variable.value
        else variable.value
        for variable in variables
    }
    return {"RAY_ADDRESS": "local", **listed, **environ, **without_proxies(environ)}


def without_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that keep calls to this machine itself from a proxy that the environment names.

    gRPC, through which replicas call each other, and httpx both read `http_proxy`.
    """
    if not any(name.lower() in _PROXIES for name in environ):
        return {}
    listed = [part for name in ("no_proxy", "NO_PROXY") for part in environ.get(name, "").split(",") if part.strip()]
    exempt = ",".join(dict.fromkeys([*listed, *_THIS_MACHINE]))
    return {"no_proxy": exempt, "NO_PROXY": exempt, "no_grpc_proxy": exempt}


def missing_variables(variables: Sequence[Variable], environ: Mapping[str, str]) -> list[Variable]:
    """Return the variables that `environ` does not set. (A different value counts as a deliberate choice.)"""
    return [variable for variable in variables if variable.name not in environ]


def explain(missing: Sequence[Variable]) -> str:
    """Format the missing variables, grouped by effect, for the log."""
    by_effect: dict[str, list[str]] = {}
    for variable in missing:
        by_effect.setdefault(variable.effect, []).append(f"{variable.name}={variable.value}")
    lines = [f"  {' '.join(names)}: {effect}" for effect, names in by_effect.items()]
    head = "Ray was started without some variables that Trivet needs. `trivet serve` sets them. Missing, with effects:"
    return "\n".join([head, *lines])
