"""A clock that only `advance` moves, and a probe that returns the readings it is given."""

from collections.abc import Mapping

from trivet.vram.types import Observation

MIB = 1024**2
GIB = 1024**3


class Clock:
    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class ShownProbe:
    """Reads `free_bytes`, or nothing for `unknown_reason` while that is set."""

    def __init__(self, clock: Clock, free_bytes: int) -> None:
        self.clock = clock
        self.free_bytes = free_bytes
        self.unknown_reason: str | None = None
        self.present: frozenset[str] | None = None

    def read(self) -> Observation:
        if self.unknown_reason is not None:
            return Observation.unknown(at_s=self.clock(), device="shown:0", reason=self.unknown_reason)
        return look(self.clock(), self.free_bytes, present=self.present)


def look(
    at_s: float,
    free_bytes: int,
    *,
    reusable: Mapping[str, int] | None = None,
    others_returnable: Mapping[str, int] | None = None,
    weights: Mapping[str, int] | None = None,
    offloaded: frozenset[str] = frozenset(),
    present: frozenset[str] | None = None,
) -> Observation:
    return Observation(
        at_s=at_s,
        device="shown:0",
        total_bytes=8 * GIB,
        free_bytes=free_bytes,
        reusable_bytes=reusable or {},
        others_returnable_bytes=others_returnable or {},
        weights_bytes=weights or {},
        offloaded=offloaded,
        present=present,
    )
