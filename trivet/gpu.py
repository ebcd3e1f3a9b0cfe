"""The identity of a GPU in a cluster, and whether the installed torch can use one."""

from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple


class GpuId(NamedTuple):
    """One GPU: the id of its node, and its UUID as the driver gives it (`GPU-…`, `MIG-…`; `simulated:0`)."""

    node: str
    uuid: str


def torch_without_cuda() -> str | None:
    """Return the version of the installed torch if it is a CPU build, with which no GPU can be used; None if not."""
    try:
        installed = version("torch")
    except PackageNotFoundError:
        return None
    return installed if installed.endswith("+cpu") else None
