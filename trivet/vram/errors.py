"""Errors of the VRAM subsystem. Probing never raises to its caller: a GPU that cannot be read is an observation."""

from trivet.errors import ConfigError, TrivetError
from trivet.units import format_bytes


class SimulatedOutOfMemory(TrivetError):
    """The simulated GPU has no room for an allocation: what CUDA's out-of-memory error is to a real one."""

    def __init__(self, *, model: str, asked_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"simulated GPU: {model} asked for {format_bytes(asked_bytes)}, {format_bytes(free_bytes)} free"
        )
        self.model = model
        self.asked_bytes = asked_bytes
        self.free_bytes = free_bytes


class DoesNotFit(ConfigError):
    """A set of models that cannot share the GPU; the message holds the numbers and the nearest preset that fits."""

    def __init__(self, message: str, *, needed_bytes: int, gpu_bytes: int, nearest_preset: str) -> None:
        super().__init__(message)
        self.needed_bytes = needed_bytes
        self.gpu_bytes = gpu_bytes
        self.nearest_preset = nearest_preset
