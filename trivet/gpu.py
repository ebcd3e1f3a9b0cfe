"""The identity of a GPU in a cluster."""

from typing import NamedTuple


class GpuId(NamedTuple):
    """One GPU: the id of its node, and its UUID as the driver gives it (`GPU-…`, `MIG-…`; `simulated:0`)."""

    node: str
    uuid: str
