"""Reads the environment variables that Ray's processes need from `ray.env`, and reports those that a cluster lacks.

The command line starts clusters with them. `app.build` logs which of them are missing from a cluster that was started
in another way. Imports no ray, and does not read the environment itself.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values

from trivet.paths import service_folder

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

    Ray starts a new cluster even if `environ` names the address of one, which would lack the variables and belong to
    somebody else. The name of a program becomes its path in the folder `programs`, because Ray does not accept a bare
    name.
    """
    listed = {
        variable.name: str(programs / variable.value)
        if variable.name.endswith("_BINARY_PATH") and "/" not in variable.value
        else variable.value
        for variable in variables
    }
    return {**listed, **environ, **without_proxies(environ), "RAY_ADDRESS": "local"}


_PATH_VARIABLES = ("TRIVET_CACHE", "HF_HOME", "HF_HUB_CACHE", "RAY_AUTH_TOKEN_PATH", "TMPDIR")


def absolute_variables(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Return `environ` with relative paths joined to `folder`: the service does not run where it was started."""
    paths = {name: environ[name] for name in _PATH_VARIABLES if environ.get(name) and environ[name][0] != "~"}
    return {**environ, **{name: os.path.abspath(folder / path) for name, path in paths.items()}}


def python_path(environ: Mapping[str, str], extra: Path | None = None) -> str:
    """Return the service's `PYTHONPATH`: the folder of `app.py` and `deployments/` first, then the caller's folders.

    `extra` is one more folder, the last.
    """
    callers = [part for part in environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    folders = [service_folder(), *map(Path, callers), *([] if extra is None else [extra])]
    return os.pathsep.join(dict.fromkeys(str(folder.absolute()) for folder in folders))


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
