"""The variables that Ray's own processes must have, as `ray.env` beside this file lists them: read, compared,
explained.

Reads no environment by itself and imports no Ray: the command line starts a cluster with them, and `app.build` says
which of them a cluster lacks that somebody else has started.
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
    """One line of the file. `effect`: the comment above it, what it buys."""

    name: str
    value: str
    effect: str


def shipped_variables() -> list[Variable]:
    """Read the file that ships with Trivet."""
    return read_variables(SHIPPED_FILE.read_text(encoding="utf-8"))


def read_variables(text: str) -> list[Variable]:
    """All variables in order. A comment belongs to the lines that follow it, up to an empty one."""
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
    """The environment to start a cluster in: what the caller has set wins over the variables.

    Unless an address is set it is a cluster of its own: the processes of one that runs already would lack them.
    A value that names a program in `programs` becomes its path: Ray takes no program by its name alone.
    """
    listed = {
        variable.name: str(programs / variable.value)
        if variable.name.endswith("_BINARY_PATH") and "/" not in variable.value
        else variable.value
        for variable in variables
    }
    return {"RAY_ADDRESS": "local", **listed, **environ, **without_proxies(environ)}


def without_proxies(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables that keep calls to this machine itself from a proxy that the environment names.

    gRPC, through which replicas call each other, and httpx both read `http_proxy`.
    """
    if not any(name.lower() in _PROXIES for name in environ):
        return {}
    listed = [part for name in ("no_proxy", "NO_PROXY") for part in environ.get(name, "").split(",") if part.strip()]
    exempt = ",".join(dict.fromkeys([*listed, *_THIS_MACHINE]))
    return {"no_proxy": exempt, "NO_PROXY": exempt, "no_grpc_proxy": exempt}


def missing_variables(variables: Sequence[Variable], environ: Mapping[str, str]) -> list[Variable]:
    """Those that are not set at all: another value is somebody's choice."""
    return [variable for variable in variables if variable.name not in environ]


def explain(missing: Sequence[Variable]) -> str:
    """For the log of a service that starts without them."""
    by_effect: dict[str, list[str]] = {}
    for variable in missing:
        by_effect.setdefault(variable.effect, []).append(f"{variable.name}={variable.value}")
    lines = [f"  {' '.join(names)}: {effect}" for effect, names in by_effect.items()]
    head = "Ray was started without variables that Trivet is tuned by; `trivet serve` sets them. Missing, and what for:"
    return "\n".join([head, *lines])
